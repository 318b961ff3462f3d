import { AppError } from '@sluice/errors'
import type { DeliveryRow } from '@sluice/ledger'
import { withDeadline } from '@sluice/resilience'
import { DelayedError, type Job, Queue, Worker } from 'bullmq'
import type { Redis } from 'ioredis'

export interface WebhookJob {
  tenant: string
  requestId: string
  id: string
  /** The number of the attempt that the timer is for, from 1. A timer for another number than the row's is stale. */
  attempt: number
  /** Told that it is its turn, beside its own timer. */
  woken?: boolean
}

type Timed = Pick<DeliveryRow, 'tenant' | 'requestId' | 'id' | 'attempts'>

/** BullMQ as the timer of webhook attempts; what is due and what happened stands in the deliveries' rows. */
export interface WebhookTimer {
  /** Sets the timer of the row's next attempt. Setting it twice is the same as once. */
  set(row: Timed, afterMs: number): Promise<void>
  /** Rings at once for a row whose timer may be set for later. */
  ring(row: Timed): Promise<void>
  close(): Promise<void>
}

const queueName = 'webhooks'
const away: ReadonlySet<string> = new Set(['close', 'reconnecting', 'end'])
const setDeadlineMs = 5000
const closeDeadlineMs = 5000

export function createWebhookTimer(connection: Redis): WebhookTimer {
  const queue = new Queue<WebhookJob>(queueName, { connection, prefix: '{sluice}' })
  queue.on('error', () => {})
  const add = async ({ tenant, requestId, id, attempts }: Timed, woken: boolean, afterMs: number) => {
    // What is queued for a Redis that is away would pile up; the sweeper sets the timer when it is back.
    if (away.has(connection.status)) throw new AppError('storage_unavailable', 'Redis is away')
    const attempt = attempts.length + 1
    const job = { tenant, requestId, id, attempt, ...(woken ? { woken } : {}) }
    const options = {
      // One timer per attempt: BullMQ ignores a job whose id is there already.
      jobId: `${id}.${attempt}${woken ? '.woken' : ''}`,
      delay: Math.max(0, Math.round(afterMs)),
      attempts: 1,
      removeOnComplete: true,
      removeOnFail: true,
    }
    // BullMQ's connection waits for Redis for ever; whoever sets a timer does not.
    const late = () => new Error('Redis did not take the timer in time')
    await withDeadline(setDeadlineMs, undefined, () => queue.add('attempt', job, options), late)
  }
  return {
    set: (row, afterMs) => add(row, false, afterMs),
    ring: (row) => add(row, true, 0),
    close: () =>
      withDeadline(
        closeDeadlineMs,
        undefined,
        () => queue.close(),
        () => new Error('late'),
      ).catch(() => queue.disconnect()),
  }
}

/** Timers in hand at a time: more than the lanes can hold, so that these alone decide who waits. */
const inHand = 4_096

/**
 * Runs `attempt` for every timer that rings; what it answers is in how many milliseconds the timer is to ring again. A
 * throw is harmless: the row stays overdue.
 */
export function runWebhookWorker(
  connection: Redis,
  attempt: (job: WebhookJob) => Promise<{ againInMs: number } | undefined>,
  onError: (error: Error) => void,
): { close(): Promise<void> } {
  const work = async (job: Job<WebhookJob>, token?: string) => {
    const again = await attempt(job.data)
    if (again === undefined) return
    await job.moveToDelayed(Date.now() + again.againInMs, token)
    throw new DelayedError()
  }
  const worker = new Worker<WebhookJob>(queueName, work, {
    connection,
    concurrency: inHand,
    prefix: '{sluice}',
    // Renewed while an attempt runs; what a killed worker held is taken up again after at most twenty seconds.
    lockDuration: 15_000,
    stalledInterval: 5_000,
    maxStalledCount: 1,
  })
  worker.on('error', onError)
  worker.on('failed', (_, error) => onError(error))
  // BullMQ waits for a Redis that is away for as long as it is away; what it held comes again by the rows anyway.
  const late = () => new Error('the webhook worker did not close in time')
  return {
    close: () => withDeadline(closeDeadlineMs, undefined, () => worker.close(), late).catch(() => worker.close(true)),
  }
}
