import { ServiceBusError } from '@azure/service-bus'
import { AppError } from '@sluice/errors'
import { expect, test } from 'vitest'
import { OutcomeGate } from './outcome-gate.ts'
import { settlementOf } from './settlement.ts'
import { isRefusal, isTransient, translateServiceBus } from './translate-error.ts'

test.each([
  [
    new AppError('invalid_line', 'url: missing'),
    { kind: 'dead-letter', reason: 'invalid_line', description: 'url: missing' },
  ],
  [new AppError('lease_lost', 'x'), { kind: 'untouched' }],
  [new AppError('storage_unavailable', 'x', { retryAfterMs: 60_000 }), { kind: 'retry', afterMs: 60_000 }],
  [new AppError('cost_limit', 'x'), { kind: 'retry', afterMs: expect.any(Number) as unknown }],
  [new TypeError('bug'), { kind: 'retry', afterMs: expect.any(Number) as unknown }],
])('%s becomes a settlement by its disposition', (error, expected) => {
  expect(settlementOf(error, 0)).toEqual(expected)
})

test('retries wait longer with every delivery, up to five seconds', () => {
  const longest = (deliveryCount: number) => {
    const waits = Array.from({ length: 200 }, () => settlementOf(new Error('x'), deliveryCount))
    return Math.max(...waits.map((settlement) => (settlement.kind === 'retry' ? settlement.afterMs : Number.NaN)))
  }
  expect(longest(0)).toBeLessThanOrEqual(200)
  expect(longest(3)).toBeGreaterThan(400)
  expect(longest(49)).toBeLessThanOrEqual(5000)
})

const vendor = (code: string, retryable: boolean) =>
  Object.assign(new ServiceBusError('x', code as 'GeneralError'), { retryable })

test.each([
  ['MessageLockLost', 'lock_lost', undefined],
  ['MessageNotFound', 'lock_lost', undefined],
  ['MessageSizeExceeded', 'message_too_large', undefined],
  ['ServiceBusy', 'queue_unavailable', 10_000],
  ['MessagingEntityNotFound', 'queue_unavailable', undefined],
])('%s is %s', (code, expected, retryAfterMs) => {
  expect(translateServiceBus(vendor(code, false), 'send')).toMatchObject({ code: expected, retryAfterMs })
})

test('what the SDK throws after several attempts is judged by the last of them', () => {
  const several = new AggregateError([vendor('ServiceTimeout', true), vendor('MessageLockLost', false)])
  expect(translateServiceBus(several, 'complete').code).toBe('lock_lost')
  expect(isTransient(new AggregateError([vendor('MessageLockLost', false), vendor('ServiceTimeout', true)]))).toBe(true)
})

test('only a definite no is a refusal', () => {
  expect(isRefusal(vendor('MessageSizeExceeded', false))).toBe(true)
  expect([vendor('ServiceTimeout', true), vendor('UnauthorizedAccess', false), new Error('x')].some(isRefusal)).toBe(
    false,
  )
})

test('completions share a turn of the event loop, other outcomes have one each, and nobody waits for ever', async () => {
  const gate = new OutcomeGate()
  const turns: string[][] = [[]]
  let over = false
  const count = () => {
    turns.push([])
    if (!over) setImmediate(count)
  }
  setImmediate(count)
  const settle = async (kind: 'complete' | 'abandon') => {
    if (!gate.tryPass(kind === 'complete')) await gate.pass(kind === 'complete')
    turns.at(-1)?.push(kind)
  }
  await Promise.all(Array.from({ length: 30 }, (_, index) => settle(index % 3 === 1 ? 'abandon' : 'complete')))
  over = true
  expect(turns.flat()).toHaveLength(30)
  for (const turn of turns) if (turn.includes('abandon')) expect(turn).toEqual(['abandon'])
})
