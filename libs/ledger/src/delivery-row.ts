import { createHash } from 'node:crypto'
import { canonicalJson, type DeliverTarget, type ResultEvent } from '@sluice/contracts'

type Sink = DeliverTarget['type']
export type DeliveryStatus = 'pending' | 'delivered' | 'failed'

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
  requestId: string
  eventId: string
  sink: Sink
  target: DeliverTarget
  status: DeliveryStatus
  /** Small by construction: a large answer is a claim check in the result that the event carries. */
  event: ResultEvent
  attempts: DeliveryAttempt[]
  /** While pending, when the next attempt is due. */
  next_attempt_at?: string
  created_at: string
  updated_at: string
}

/** The same event and target give the same delivery, whoever opens it. */
export function deliveryIdOf(eventId: string, target: DeliverTarget): string {
  return `${eventId}.${createHash('sha256').update(canonicalJson(target)).digest('hex').slice(0, 16)}`
}
