export { createDeliveries, type Deliveries } from './deliveries.ts'
export { deliveryKey } from './delivery-key.ts'
export { type DeliveryRow } from './delivery-row.ts'
export { createLedger, type LedgerOptions } from './ledger.ts'
export {
  type Arrival,
  type Claim,
  type ClaimInput,
  type ClaimResult,
  type FinishInput,
  type Ledger,
} from './ledger-types.ts'
export { rowMessage } from './messages.ts'
export { createOutbox, type Outbox } from './outbox.ts'
export { type Row, type RowSummary } from './row.ts'
export { createSweeper, type SweeperOptions } from './sweeper.ts'
