import { toAppError } from '@sluice/errors'
import { fullJitter } from '@sluice/resilience'

/** What a handler wants to become of its message. */
export type Settlement =
  | { kind: 'complete' }
  /**
   * Give the message back. It stays locked in memory, without its slot, for `afterMs` or for the loop's `retryHoldMs`,
   * whichever is shorter, and is then abandoned: the broker may deliver it again at once. Whatever needs a longer wait is
   * parked by the handler and completed.
   */
  | { kind: 'retry'; afterMs: number }
  | { kind: 'dead-letter'; reason: string; description: string }
  /** Set aside at the broker; only somebody who kept the sequence number gets it back. */
  | { kind: 'defer' }

/**
 * For sessions: the message stays as it is and its session is given back after `afterMs`, or after the loop's
 * `holdMs` if that is shorter; until then nobody else can have it. The message keeps its place and its delivery count.
 * https://learn.microsoft.com/azure/service-bus-messaging/message-sessions#impact-of-delivery-count
 */
export interface Release {
  kind: 'release'
  afterMs: number
}

export const release = (afterMs: number): Release => ({ kind: 'release', afterMs })
export const complete = (): Settlement => ({ kind: 'complete' })
export const retry = (afterMs: number): Settlement => ({ kind: 'retry', afterMs })
export const deadLetter = (reason: string, description: string): Settlement => ({
  kind: 'dead-letter',
  reason,
  description,
})

/** Not a settlement: somebody else owns the message, or nobody does, so that this loop must not touch it. */
export type Untouched = { kind: 'untouched' }
const untouched: Untouched = { kind: 'untouched' }

const retryJitter = fullJitter({ baseMs: 200, capMs: 5000 })

/** What a handler's error says about its message, by the error's disposition. */
export function settlementOf(thrown: unknown, deliveryCount: number): Settlement | Untouched {
  const error = toAppError(thrown)
  if (error.disposition === 'reject') return deadLetter(error.code, error.message)
  if (error.disposition === 'yield') return untouched
  return retry(Math.max(error.retryAfterMs ?? 0, retryJitter(deliveryCount + 1)))
}
