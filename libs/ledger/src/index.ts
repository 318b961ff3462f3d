export { createDeliveries, type Deliveries, type Delivered } from './deliveries.ts'
export { deliveryKey } from './delivery-key.ts'
export { type DeliveryAttempt, type DeliveryRow, type DeliveryStatus } from './delivery-row.ts'
export { createLedger, type LedgerOptions } from './ledger.ts'
export {
  type Arrival,
  type Claim,
  type ClaimInput,
  type ClaimResult,
  type FinishInput,
  type Ledger,
  type ListInput,
  type RejectInput,
} from './ledger-types.ts'
export { eventOf, resultMessage, rowMessage, targetsOf } from './messages.ts'
export { createOutbox, type Outbox } from './outbox.ts'
export { type Row, type RowStatus, type RowSummary } from './row.ts'
export { createSweeper, type Sweeper, type SweeperOptions } from './sweeper.ts'
