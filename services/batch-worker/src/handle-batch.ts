import {
  type BatchSubmission,
  batchSubmissionSchema,
  checkDeliverTargets,
  invalidLine,
  tenantOnLane,
} from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { deliveryKey } from '@sluice/ledger'
import { complete, type Delivery, type Settlement } from '@sluice/messaging'
import type { Blobs } from '@sluice/storage'
import type { Logger } from '@sluice/telemetry'
import { type FileLine, fileLines } from './file-lines.ts'
import { type LineDeps, submitLine } from './submit-line.ts'

export interface BatchDeps extends LineDeps {
  blobs: Blobs
  logger: Logger
  linesInFlight: number
}

/** A line's limit, as for an HTTP body. */
const maxLineBytes = 4 * 1024 * 1024

/**
 * One message of queue `batches`: every line of its file becomes a bulk request of its own. The file is streamed; a
 * worker that dies reads it again from the start, and the lines that have their rows already are passed over.
 */
export const handleBatch =
  (deps: BatchDeps) =>
  async (delivery: Delivery, signal: AbortSignal): Promise<Settlement> => {
    const submission = readSubmission(delivery)
    const { platform, blobs, logger } = deps
    const tenant = tenantOnLane('batches', platform.batches, submission.sluice?.tenant)
    checkDeliverTargets(platform, tenant, submission.sluice?.deliver)
    const file = {
      tenant,
      key: deliveryKey(delivery),
      defaults: submission.sluice,
      traceparent: delivery.traceparent,
      enqueuedAt: delivery.enqueuedAt,
      seen: new Map<string, number>(),
    }
    const counts = { accepted: 0, rejected: 0 }
    const submit = async (line: FileLine) => {
      counts[await submitLine(deps, file, line)]++
    }
    const stream = await blobs.open(tenant, submission.input.blob, signal)
    await eachConcurrently(fileLines(stream, maxLineBytes), deps.linesInFlight, submit, signal)
    logger.info({ tenant, customId: submission.custom_id, ...counts }, 'a file was taken in')
    return complete()
  }

function readSubmission(delivery: Delivery): BatchSubmission {
  let value: unknown
  try {
    value = JSON.parse(delivery.body.toString('utf8'))
  } catch (cause) {
    throw new AppError('invalid_json', 'The batch is not valid JSON.', { cause })
  }
  const parsed = batchSubmissionSchema.safeParse(value)
  if (!parsed.success) throw invalidLine(parsed.error)
  return parsed.data
}

/** Runs `work` for each item, `limit` at a time, without reading ahead; the first failure ends it after the others. */
async function eachConcurrently<T>(
  items: AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const running = new Set<Promise<void>>()
  const failures: unknown[] = []
  for await (const item of items) {
    signal.throwIfAborted()
    const one = work(item)
      .catch((error: unknown) => void failures.push(error))
      .finally(() => running.delete(one))
    running.add(one)
    if (running.size >= limit) await Promise.race(running)
    if (failures.length > 0) break
  }
  await Promise.all(running)
  if (failures.length > 0) throw failures[0]
}
