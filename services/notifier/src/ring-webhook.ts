import { type Deliveries, type DeliveryRow, nextAttemptOf } from '@sluice/ledger'
import type { Clock } from '@sluice/resilience'
import type { AttemptWebhook } from './attempt-webhook.ts'
import type { NoCall, WebhookCall } from './webhook-calls.ts'
import type { WebhookLanes } from './webhook-lanes.ts'
import type { WebhookJob, WebhookTimer } from './webhook-timer.ts'

export interface RingWebhookDeps {
  deliveries: Deliveries
  callOf: (tenant: string, target: DeliveryRow['target']) => Promise<WebhookCall | NoCall>
  lanes: WebhookLanes
  attempt: AttemptWebhook
  timer: WebhookTimer
  clock: Clock
}

/** How long a timer that rang waits for its receiver's turn before it is set again. */
const waitMs = 1_000
/** How long a timer waits for the other one of its row. */
const busyMs = 50
/** How long after the head of an ordered key its followers look again by themselves, at least. */
const followMs = 15_000

/**
 * A timer rings: the row says whether the attempt is still due, the lane whether it can be made now, and the row records
 * what came of it before the next timer is set. Answers when to ring again where it could not be made.
 */
export const ringWebhook = (deps: RingWebhookDeps) => {
  // A row may have two timers: its own, and the one that told it that it is its turn.
  const busy = new Set<string>()
  return async (job: WebhookJob): Promise<{ againInMs: number } | undefined> => {
    // Not dropped: what the one at work saw may be older than what this one was told.
    if (busy.has(job.id)) return { againInMs: busyMs }
    busy.add(job.id)
    try {
      return await ring(deps, job)
    } finally {
      busy.delete(job.id)
    }
  }
}

async function ring(deps: RingWebhookDeps, job: WebhookJob): Promise<{ againInMs: number } | undefined> {
  const { deliveries, timer, clock } = deps
  const row = await deliveries.get(job.tenant, job.requestId, job.id)
  // Somebody else made this attempt (a stalled job, a sweeper's second timer): the row is ahead of the timer.
  if (row === undefined || row.status !== 'pending' || row.attempts.length + 1 !== job.attempt) return undefined
  const behindMs = await behindOthers(deps, row)
  // A row that was woken too early still has its own timer.
  if (behindMs !== undefined) return job.woken === true ? undefined : { againInMs: behindMs }

  const call = await deps.callOf(row.tenant, row.target)
  if ('reason' in call) {
    await deliveries.giveUp(row, call.reason)
    return follow(deps, row)
  }
  const permit = await deps.lanes.enter(call.lane, call.concurrency, waitMs)
  if ('laterMs' in permit) return { againInMs: permit.laterMs }
  const made = await deps.attempt(row, call, nextAttemptOf(row)).finally(() => permit.leave())
  if (made === undefined) return undefined
  const recorded = await deliveries.record(row, made.attempt, made.next)
  if (recorded?.status === 'pending')
    await timer.set(recorded, Date.parse(recorded.next_attempt_at ?? '') - clock.now())
  else await follow(deps, row)
  return undefined
}

/**
 * Of an ordered key only the first pending row is attempted. The others wait until it has ended, and are told then; that
 * they look again by themselves is for the case that whoever should tell them died.
 */
async function behindOthers({ deliveries, clock }: RingWebhookDeps, row: DeliveryRow): Promise<number | undefined> {
  if (row.fifo_key === undefined) return undefined
  const head = await deliveries.headOf(row.tenant, row.fifo_key)
  if (head === undefined || head.id === row.id) return undefined
  const dueMs = head.next_attempt_at === undefined ? 0 : Date.parse(head.next_attempt_at) - clock.now()
  const waitMs = Math.max(0, dueMs) + followMs * (1 + Math.random())
  await deliveries.postpone(row, clock.now() + waitMs)
  return waitMs
}

async function follow({ deliveries, timer }: RingWebhookDeps, row: DeliveryRow): Promise<undefined> {
  if (row.fifo_key === undefined) return undefined
  const next = await deliveries.headOf(row.tenant, row.fifo_key)
  if (next !== undefined) await timer.ring(next)
  return undefined
}
