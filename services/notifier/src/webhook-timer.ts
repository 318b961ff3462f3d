import type { DeliveryRow } from '@sluice/ledger'
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

export function createWebhookTimer(connection: Redis): WebhookTimer {
  const queue = new Queue<WebhookJob>(queueName, { connection, prefix: '{sluice}' })
  queue.on('error', () => {})
  return {
    async set({ tenant, requestId, id, attempts }, afterMs) {
      const attempt = attempts.length + 1
      const added = queue.add(
        'attempt',
        { tenant, requestId, id, attempt },
        {
          // One timer per attempt: BullMQ ignores a job whose id is there already.
          jobId: `${id}.${attempt}`,
          delay: Math.max(0, Math.round(afterMs)),
          attempts: 1,
          removeOnComplete: true,
          removeOnFail: true,
        },
      )
      // BullMQ's connection waits for Redis for ever; whoever sets a timer does not.
      let timeout: NodeJS.Timeout | undefined
      const late = new Promise<never>((_, reject) => {
        timeout = setTimeout(() => reject(new Error('Redis did not take the timer in time')), setDeadlineMs)
      })
      added.catch(() => {})
      try {
        await Promise.race([added, late])
      } finally {
        clearTimeout(timeout)
      }
    },
    close: () => queue.close(),
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
  return { close: () => worker.close() }
}
