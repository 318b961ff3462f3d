import type { DeliveryRow } from '@sluice/ledger'
import { withDeadline } from '@sluice/resilience'
import { Queue, Worker } from 'bullmq'
import type { Redis } from 'ioredis'

export interface WebhookJob {
  tenant: string
  requestId: string
  id: string
  /** The number of the attempt that the timer is for, from 1. A timer for another number than the row's is stale. */
  attempt: number
}

/** BullMQ as the timer of webhook attempts; what is due and what happened stands in the deliveries' rows. */
export interface WebhookTimer {
  /** Sets the timer of the row's next attempt. Setting it twice is the same as once. */
  set(row: Pick<DeliveryRow, 'tenant' | 'requestId' | 'id' | 'attempts'>, afterMs: number): Promise<void>
  close(): Promise<void>
}

const queueName = 'webhooks'
const setDeadlineMs = 5000
const closeDeadlineMs = 5000

export function createWebhookTimer(connection: Redis): WebhookTimer {
  const queue = new Queue<WebhookJob>(queueName, { connection, prefix: '{sluice}' })
  queue.on('error', () => {})
  return {
    async set({ tenant, requestId, id, attempts }, afterMs) {
      const attempt = attempts.length + 1
      const job = { tenant, requestId, id, attempt }
      const options = {
        // One timer per attempt: BullMQ ignores a job whose id is there already.
        jobId: `${id}.${attempt}`,
        delay: Math.max(0, Math.round(afterMs)),
        attempts: 1,
        removeOnComplete: true,
        removeOnFail: true,
      }
      // BullMQ's connection waits for Redis for ever; whoever sets a timer does not.
      const late = () => new Error('Redis did not take the timer in time')
      await withDeadline(setDeadlineMs, undefined, () => queue.add('attempt', job, options), late)
    },
    close: () =>
      withDeadline(
        closeDeadlineMs,
        undefined,
        () => queue.close(),
        () => new Error('late'),
      ).catch(() => queue.disconnect()),
  }
}

/** Runs `attempt` for every timer that rings, `concurrency` at a time. A throw is harmless: the row stays overdue. */
export function runWebhookWorker(
  connection: Redis,
  concurrency: number,
  attempt: (job: WebhookJob) => Promise<void>,
  onError: (error: Error) => void,
): { close(): Promise<void> } {
  const worker = new Worker<WebhookJob>(queueName, (job) => attempt(job.data), {
    connection,
    concurrency,
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
