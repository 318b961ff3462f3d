import type { Batching } from '@sluice/batch'
import { withDeadline } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import { DelayedError, type Job, Queue, Worker } from 'bullmq'
import type { Redis } from 'ioredis'

/** Names the row of a batch or a part. */
export interface BatchJob {
  tenant: string
  batch: string
  id: string
}

/**
 * BullMQ as the timer of batches and parts. A row's job carries the row's id, so there is one at a time and one poller a
 * part; what is to be done stands in the row, and a job that was lost or comes twice changes nothing.
 */
export interface BatchTimer {
  /** Has the row looked at now, also when its timer is set for later. */
  wake(job: BatchJob): Promise<void>
  close(): Promise<void>
}

const queueName = 'batches'
const deadlineMs = 5_000
const late = () => new Error('Redis did not answer in time')

export function createBatchTimer(connection: Redis): BatchTimer {
  const queue = new Queue<BatchJob>(queueName, { connection, prefix: '{sluice}' })
  queue.on('error', () => {})
  return {
    wake: (data) =>
      withDeadline(
        deadlineMs,
        undefined,
        async () => {
          const options = { jobId: data.id, attempts: 1, removeOnComplete: true, removeOnFail: true }
          await queue.add('advance', data, options)
          const job = await queue.getJob(data.id)
          // A job that is there already is kept as it is, with its delay.
          if ((await job?.isDelayed()) === true) await job?.promote().catch(() => undefined)
        },
        late,
      ),
    close: () => withDeadline(deadlineMs, undefined, () => queue.close(), late).catch(() => queue.disconnect()),
  }
}

/** Runs due rows, `concurrency` at a time. A row that is to be looked at later keeps its job, with a delay. */
export function runBatchWorker(
  connection: Redis,
  {
    concurrency,
    runner,
    logger,
    signal,
  }: {
    concurrency: number
    runner: Batching['runner']
    logger: Logger
    signal: AbortSignal
  },
): { close(): Promise<void> } {
  const advance = async (job: Job<BatchJob>, token?: string): Promise<void> => {
    const afterMs = await runner.advance(job.data, signal)
    if (afterMs === undefined) return
    await job.moveToDelayed(Date.now() + Math.ceil(afterMs), token)
    throw new DelayedError()
  }
  const worker = new Worker<BatchJob>(queueName, advance, {
    connection,
    concurrency,
    prefix: '{sluice}',
    // Renewed while a step runs; what a killed worker held is taken up again after at most fifteen seconds.
    lockDuration: 10_000,
    stalledInterval: 5_000,
    // However often a worker died over it: the rows decide when something is given up.
    maxStalledCount: 1_000,
  })
  worker.on('error', (err) => logger.warn({ err }, 'the timer of batches failed'))
  return {
    close: () => withDeadline(deadlineMs, undefined, () => worker.close(), late).catch(() => worker.close(true)),
  }
}
