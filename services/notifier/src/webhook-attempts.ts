import { toAppError } from '@sluice/errors'
import type { WebhookAnswer } from './webhook-sender.ts'

/** What follows an attempt: the delivery is over, or the next attempt is due that many milliseconds from now. */
export type AttemptVerdict =
  | { kind: 'delivered' }
  | { kind: 'failed'; why: string }
  | { kind: 'again'; afterMs: number }

/** A receiver may ask for a pause, but not for one that outlasts the daily attempts. */
const longestPauseMs = 24 * 3600 * 1000

/**
 * @param attempt the number of the attempt that was just made, from 1. @param scheduleMs pauses before attempt 2, 3, …
 * @param random 0..1; up to a tenth is added so that retries of one outage spread out.
 */
export function judgeAttempt(
  outcome: { answer: WebhookAnswer } | { error: unknown },
  attempt: number,
  scheduleMs: readonly number[],
  random: number,
): AttemptVerdict {
  const pause = scheduleMs[attempt - 1]
  const again = (atLeastMs = 0): AttemptVerdict =>
    pause === undefined
      ? { kind: 'failed', why: `no success in ${attempt} attempts` }
      : { kind: 'again', afterMs: Math.max(pause, atLeastMs) * (1 + random / 10) }
  if ('error' in outcome) {
    const error = toAppError(outcome.error, 'delivery_failed')
    return error.disposition === 'fail' ? { kind: 'failed', why: error.message } : again()
  }
  const { status, retryAfterMs } = outcome.answer
  if (status >= 200 && status < 300) return { kind: 'delivered' }
  if (status === 410) return { kind: 'failed', why: 'the receiver is gone (410)' }
  return again(status === 429 || status === 503 ? Math.min(retryAfterMs ?? 0, longestPauseMs) : 0)
}
