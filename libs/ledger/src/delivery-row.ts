import { hash } from 'node:crypto'
import { canonicalJson, type DeliverTarget, type EventEnvelope } from '@sluice/contracts'

type Sink = DeliverTarget['type']
export type DeliveryStatus = 'pending' | 'delivered' | 'failed'

/** A registered endpoint, by its id: its url and its secrets are looked up at every attempt, so that a change counts. */
interface EndpointTarget {
  type: 'webhook'
  endpoint: string
}
export type DeliveryTarget = DeliverTarget | EndpointTarget

/** One try to bring an event to a target. */
export interface DeliveryAttempt {
  at: string
  /** HTTP status, or 0 when no answer came or the sink speaks no HTTP. */
  status: number
  ms: number
  /** How the answer's body began. */
  excerpt?: string
  error?: string
}

/** What becomes of one event at one target (container `deliveries`). Times are RFC 3339 in UTC. */
export interface DeliveryRow {
  id: string
  tenant: string
  /** The event's subject: a request's id, a batch's, or an endpoint's. */
  requestId: string
  eventId: string
  sink: Sink
  target: DeliveryTarget
  /** The registered endpoint, where the target is one. */
  endpoint?: string
  status: DeliveryStatus
  /** Why it failed for good. */
  reason?: string
  /** Small by construction: a large answer is a claim check in the result that the event carries. */
  event: EventEnvelope
  attempts: DeliveryAttempt[]
  /** Attempts that were made before the last replay: the schedule counts from there. */
  replayed_from?: number
  /** While pending, when the next attempt is due. */
  next_attempt_at?: string
  /** Rows of one key are delivered one after another, by `fifo_order`. */
  fifo_key?: string
  fifo_order?: string
  /** Seconds after its last change, once it is settled; -1 for ever. */
  ttl?: number
  created_at: string
  updated_at: string
}

const hashes = new WeakMap<DeliveryTarget, string>()

/** The same event and target give the same delivery, whoever opens it. */
export function deliveryIdOf(eventId: string, target: DeliveryTarget): string {
  let short = hashes.get(target)
  if (short === undefined) {
    short = hash('sha256', canonicalJson(target)).slice(0, 16)
    hashes.set(target, short)
  }
  return `${eventId}.${short}`
}

/** The number of the attempt that comes next, counted from 1 and anew after a replay. */
export const nextAttemptOf = ({ attempts, replayed_from = 0 }: Pick<DeliveryRow, 'attempts' | 'replayed_from'>) =>
  attempts.length - replayed_from + 1

/** Overdue by this much and a timer counts as lost: Redis was flushed, or the worker that held it died. */
export const overdueGraceMs = 10_000
