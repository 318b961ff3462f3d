import type { Claim, Ledger, Outbox } from '@sluice/ledger'
import { complete, type Settlement } from '@sluice/messaging'
import type { Parking } from '@sluice/parking'
import type { Logger, Metrics } from '@sluice/telemetry'
import type { Classify } from './classify.ts'
import type { PurgedLanes } from './purged-lanes.ts'
import type { Runnable, RunDeps } from './run-request.ts'
import type { WaitDeps } from './wait-for-room.ts'

/** What the handlers of messages and of parked rows share. */
export interface HandlerDeps extends RunDeps, WaitDeps {
  ledger: Ledger
  outbox: Outbox
  parking: Parking
  classify: Classify
  purged: PurgedLanes
  /** Says that something may be dispatched `inMs` from now. */
  wakeDispatcher: (inMs: number) => void
  logger: Logger
  metrics: Metrics
}

/** Publishes a stored result and completes; when the topic is away the sweeper publishes, and nothing is held up. */
export async function published(
  { outbox, logger }: Pick<HandlerDeps, 'outbox' | 'logger'>,
  row: Claim['row'],
): Promise<Settlement> {
  try {
    await outbox.publish(row)
  } catch (err) {
    logger.warn({ err, requestId: row.id, tenant: row.tenant }, 'the result is stored; its event will be sent later')
  }
  return complete()
}

/** A request that is claimed before there is room for it, as a message is. */
export const runnableOf = (
  ledger: Pick<Ledger, 'callStarted'>,
  claim: Claim,
  priority: Runnable['priority'],
): Runnable => ({
  row: claim.row,
  crashes: claim.row.attempts - 1,
  tries: () => claim.fence,
  priority,
  body: () => claim.body(),
  beforeCall: () => ledger.callStarted(claim),
})
