import { createHash } from 'node:crypto'
import type { BudgetCheck } from '@sluice/admission'
import type { Batches, Files } from '@sluice/batch'
import {
  type BatchSubmission,
  batchSubmissionSchema,
  checkDeliverTargets,
  invalidLine,
  type PlatformConfig,
  tenantOnLane,
} from '@sluice/contracts'
import { AppError, toAppError } from '@sluice/errors'
import { deliveryKey } from '@sluice/ledger'
import { complete, deadLetter, type Delivery, type Settlement } from '@sluice/messaging'
import type { Logger } from '@sluice/telemetry'

export interface BatchDeps {
  platform: PlatformConfig
  files: Files
  batches: Batches
  checkBudget: BudgetCheck
  logger: Logger
}

/**
 * One message of queue `batches`: its file becomes a logical batch whose lines are requests of their own, each with its
 * own event and targets. The message is completed once the batch's row is there; brought again, it finds it, whatever
 * became of the tenant's budget by then.
 */
export const handleBatch =
  ({ platform, files, batches, checkBudget, logger }: BatchDeps) =>
  async (delivery: Delivery, signal: AbortSignal): Promise<Settlement> => {
    const { custom_id, input, sluice } = readSubmission(delivery)
    const tenant = tenantOnLane('batches', platform.batches, sluice?.tenant)
    checkDeliverTargets(platform, tenant, sluice?.deliver)
    const key = createHash('sha256').update(deliveryKey(delivery)).digest('hex').slice(0, 32)
    let file = await files.adopted(tenant, key)
    if (file === undefined) {
      const refused = await refusedForBudget(checkBudget, tenant)
      if (refused !== undefined) return refused
      file = await files.adopt(tenant, input.blob, key, signal)
    }
    const batch = await batches.submit(tenant, {
      input_file_id: file.id,
      endpoint: file.sluice.endpoint ?? '/v1/chat/completions',
      completion_window: '24h',
      metadata: { custom_id: custom_id.slice(0, 512) },
      perLineEvents: true,
      mode: 'standard',
      key,
      ...(sluice === undefined ? {} : { defaults: sluice }),
      ...(sluice?.deadline === undefined ? {} : { deadline: sluice.deadline }),
      ...(sluice?.deliver === undefined ? {} : { deliver: sluice.deliver }),
      traceparent: delivery.traceparent,
    })
    const { lines, rejected } = file.sluice
    logger.info({ tenant, customId: custom_id, batch: batch.id, lines, rejected }, 'a file was taken in')
    return complete()
  }

/** A budget that is spent stays so until its period ends, which no message waits for: an operator may send it again then. */
async function refusedForBudget(checkBudget: BudgetCheck, tenant: string): Promise<Settlement | undefined> {
  try {
    await checkBudget(tenant)
    return undefined
  } catch (thrown) {
    const error = toAppError(thrown)
    if (error.code !== 'budget_exceeded') throw thrown
    return deadLetter(error.code, error.message)
  }
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
