import { type DeliverTarget, deliverTargetSchema, type ResultEvent, resultEventSchema } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Delivery } from '@sluice/messaging'

export interface Result {
  event: ResultEvent
  tenant: string
  requestId: string
  conversation: string | undefined
  targets: DeliverTarget[]
}

/**
 * A message of topic `results`: the event, and the targets that its publisher copied from the request's row.
 * @throws AppError `invalid_line`: the message is dead-lettered, the stored result stays readable.
 */
export function readResult(delivery: Delivery): Result {
  const event = resultEventSchema.safeParse(parse(delivery.body.toString('utf8')))
  const { deliver, conversation } = delivery.properties
  const targets = deliverTargetSchema.array().safeParse(parse(typeof deliver === 'string' ? deliver : '[]'))
  if (!event.success || !targets.success) throw new AppError('invalid_line', 'The message is not a result event.')
  return {
    event: event.data,
    tenant: event.data.data.sluice.tenant,
    requestId: event.data.subject,
    conversation: typeof conversation === 'string' ? conversation : undefined,
    targets: targets.data,
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
