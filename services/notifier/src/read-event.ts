import {
  type DeliverTarget,
  deliverTargetSchema,
  type EventEnvelope,
  eventEnvelopeSchema,
  tenantOfEvent,
} from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Delivery } from '@sluice/messaging'

/** A message of topic `results`, whatever its event is about. */
export interface Incoming {
  event: EventEnvelope
  tenant: string
  /** The id of the request, batch or endpoint that the event is about. */
  subject: string
  /** The caller's own id for it, if it has one. */
  customId: string | undefined
  conversation: string | undefined
  /** Published again for the named targets alone. */
  replay: boolean
  /** The targets that were asked for by name; registered endpoints come on top. */
  targets: DeliverTarget[]
}

/** Where an event's targets are when its message does not carry them: a batch's are in its row. */
export type FindTargets = (kind: string, tenant: string, subject: string) => Promise<unknown>

/**
 * Reads a message: the event, and the targets that its publisher copied into it or left in the subject's row.
 * @throws AppError `invalid_line`: the message is dead-lettered, what it tells of stays readable.
 */
export async function readEvent(delivery: Delivery, findTargets: FindTargets): Promise<Incoming> {
  const parsed = eventEnvelopeSchema.safeParse(parse(delivery.body.toString('utf8')))
  const { deliver, conversation, kind } = delivery.properties
  if (!parsed.success) throw new AppError('invalid_line', 'The message is not an event of Sluice.')
  const event = parsed.data
  const tenant = tenantOfEvent(event)
  if (tenant === undefined) throw new AppError('invalid_line', 'source: names no tenant')
  const stated = await statedTargets(deliver, kind, () => findTargets(String(kind), tenant, event.subject))
  const targets = deliverTargetSchema.array().safeParse(stated)
  if (!targets.success) throw new AppError('invalid_line', 'deliver: not a list of targets')
  const { custom_id } = event.data
  return {
    event,
    tenant,
    subject: event.subject,
    customId: typeof custom_id === 'string' ? custom_id : undefined,
    conversation: typeof conversation === 'string' ? conversation : undefined,
    replay: kind === 'replay',
    targets: targets.data,
  }
}

async function statedTargets(deliver: unknown, kind: unknown, find: () => Promise<unknown>): Promise<unknown> {
  if (typeof deliver === 'string') return parse(deliver)
  return typeof kind === 'string' ? ((await find()) ?? []) : []
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
