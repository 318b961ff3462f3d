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
  /** The event as it was published, and the same as text. */
  bytes: Buffer
  json: string
  tenant: string
  /** The id of the request, batch or endpoint that the event is about. */
  subject: string
  /** The caller's own id for it, if it has one. */
  customId: string | undefined
  conversation: string | undefined
  /** Published again for the named targets alone. */
  replay: boolean
  /** The targets that were asked for by name; registered endpoints come on top. */
  targets: readonly DeliverTarget[]
}

/** Where an event's targets are when its message does not carry them: a batch's are in its row. */
export type FindTargets = (kind: string, tenant: string, subject: string) => Promise<unknown>

/**
 * Reads a message: the event, and the targets that its publisher copied into it or left in the subject's row.
 * @throws AppError `invalid_line`: the message is dead-lettered, what it tells of stays readable.
 */
export async function readEvent(delivery: Delivery, findTargets: FindTargets): Promise<Incoming> {
  const json = delivery.body.toString('utf8')
  const parsed = eventEnvelopeSchema.safeParse(parse(json))
  const { deliver, conversation, kind } = delivery.properties
  if (!parsed.success) throw new AppError('invalid_line', 'The message is not an event of Sluice.')
  const event = parsed.data
  const tenant = tenantOfEvent(event)
  if (tenant === undefined) throw new AppError('invalid_line', 'source: names no tenant')
  const targets =
    typeof deliver === 'string'
      ? carriedTargets(deliver)
      : checkedTargets(typeof kind === 'string' ? ((await findTargets(kind, tenant, event.subject)) ?? []) : [])
  const { custom_id } = event.data
  return {
    event,
    bytes: delivery.body,
    json,
    tenant,
    subject: event.subject,
    customId: typeof custom_id === 'string' ? custom_id : undefined,
    conversation: typeof conversation === 'string' ? conversation : undefined,
    replay: kind === 'replay',
    targets,
  }
}

const known = new Map<string, readonly DeliverTarget[]>()
const maxKnown = 1_000
const maxKnownLength = 1_024

/** A caller names the same receivers again and again: what was read once is not parsed and checked for every event. */
function carriedTargets(text: string): readonly DeliverTarget[] {
  const targets = known.get(text) ?? checkedTargets(parse(text))
  if (known.has(text) || text.length > maxKnownLength) return targets
  if (known.size >= maxKnown) known.delete(known.keys().next().value ?? '')
  known.set(text, targets)
  return targets
}

function checkedTargets(stated: unknown): readonly DeliverTarget[] {
  const targets = deliverTargetSchema.array().safeParse(stated)
  if (!targets.success) throw new AppError('invalid_line', 'deliver: not a list of targets')
  return targets.data
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
