import { expect, test } from 'vitest'
import { parseEventPosition } from './event-position.ts'

test.each([
  [undefined, { from: 'start' }],
  ["amqp.annotation.x-opt-offset > '-1'", { from: 'start' }],
  ["amqp.annotation.x-opt-offset > '@latest'", { from: 'end' }],
  ["amqp.annotation.x-opt-offset >= '120'", { from: 'offset', value: 120, inclusive: true }],
  ["amqp.annotation.x-opt-sequence-number > '7'", { from: 'sequence-number', value: 7, inclusive: false }],
  [
    "amqp.annotation.x-opt-enqueued-time > '1700000000000'",
    { from: 'enqueued-time', value: 1_700_000_000_000, inclusive: false },
  ],
])('%s', (selector, expected) => {
  expect(parseEventPosition(selector)).toEqual(expected)
})

test.each([
  '',
  'offset > 1',
  "amqp.annotation.x-opt-offset < '1'",
  "amqp.annotation.x-opt-offset > 'x'",
  "amqp.annotation.x-opt-offset > ''",
])('%s is refused', (selector) => expect(() => parseEventPosition(selector)).toThrow(/filter/))
