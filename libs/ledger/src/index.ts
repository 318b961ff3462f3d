export { createDeliveries, type Deliveries, type Delivered, type Next } from './deliveries.ts'
export { deliveryKey } from './delivery-key.ts'
export {
  type DeliveryAttempt,
  type DeliveryRow,
  type DeliveryTarget,
  nextAttemptOf,
  overdueGraceMs,
} from './delivery-row.ts'
export { type EndpointRow } from './endpoint-row.ts'
export { createEndpoints, type Endpoints } from './endpoints.ts'
export { createSecretBox } from './secret-box.ts'
export { createLedger, type LedgerOptions } from './ledger.ts'
export {
  type Arrival,
  type Claim,
  type ClaimInput,
  type ClaimResult,
  type FinishInput,
  type Ledger,
  type Observed,
  type PackingRow,
  type ParkInput,
  type WaitingRow,
} from './ledger-types.ts'
export { lineOf } from './row.ts'
export { rowMessage } from './messages.ts'
export { createOutbox, type Outbox } from './outbox.ts'
export { isHeld, isUnowned, type ParkedAs, type Row, type RowSummary, rowStatuses } from './row.ts'
export { createSweeper, type SweeperOptions } from './sweeper.ts'
