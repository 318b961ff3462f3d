import { AppError } from '@sluice/errors'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { judgeAttempt } from './webhook-attempts.ts'

const schedule = [5000, 300_000]
const answer = (status: number, retryAfterMs?: number) => ({ answer: { status, excerpt: '', retryAfterMs } })

test('2xx delivers, 410 ends, anything else is tried again by the schedule', () => {
  expect(judgeAttempt(answer(204), 1, schedule, 0)).toEqual({ kind: 'delivered' })
  expect(judgeAttempt(answer(410), 1, schedule, 0)).toMatchObject({ kind: 'failed' })
  for (const status of [301, 400, 401, 404, 500, 502]) {
    expect(judgeAttempt(answer(status), 1, schedule, 0)).toEqual({ kind: 'again', afterMs: 5000 })
    expect(judgeAttempt(answer(status), 2, schedule, 0)).toEqual({ kind: 'again', afterMs: 300_000 })
    expect(judgeAttempt(answer(status), 3, schedule, 0)).toMatchObject({ kind: 'failed' })
  }
})

test('Retry-After lengthens a pause on 429 and 503 only, and never shortens it', () => {
  expect(judgeAttempt(answer(429, 60_000), 1, schedule, 0)).toEqual({ kind: 'again', afterMs: 60_000 })
  expect(judgeAttempt(answer(503, 1), 1, schedule, 0)).toEqual({ kind: 'again', afterMs: 5000 })
  expect(judgeAttempt(answer(500, 60_000), 1, schedule, 0)).toEqual({ kind: 'again', afterMs: 5000 })
})

test('no answer is tried again; an address that may not be called is not', () => {
  expect(judgeAttempt({ error: new Error('ECONNREFUSED') }, 1, schedule, 0)).toEqual({ kind: 'again', afterMs: 5000 })
  const refused = new AppError('delivery_refused', '10.0.0.1 is not a public address')
  expect(judgeAttempt({ error: refused }, 1, schedule, 0)).toMatchObject({ kind: 'failed' })
})

test('jitter adds up to a tenth', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (random) => {
      const verdict = judgeAttempt(answer(500), 1, schedule, random)
      expect(verdict.kind === 'again' && verdict.afterMs >= 5000 && verdict.afterMs <= 5500).toBe(true)
    }),
  )
})
