import * as fc from 'fast-check'
import rhea from 'rhea'
import { describe, expect, test } from 'vitest'
import { AmqpDecodeError } from './decode-error.ts'
import { parseMessage, splitBatch } from './parse-message.ts'
import { readValue } from './read-value.ts'
import { checkValue, skipValue } from './skip-value.ts'

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

describe('values', () => {
  test.each([
    ['54f9', -7],
    ['81ffffffffffffffff', -1],
    ['80ffffffffffffffff', 18_446_744_073_709_551_615n],
    ['817fffffffffffffff', 9_223_372_036_854_775_807n],
    ['5601', true],
    ['a103c3a478', 'äx'],
    ['a30178', 'x'],
    ['40', null],
    ['45', []],
    ['c00502540154ff', [1, -1]],
    ['c10602a1016b5405', { k: 5 }],
    ['00a30178540a', 10],
    ['e0050354010203', [1, 2, 3]],
    ['7300000041', 'A'],
    ['83000001859c3fb000', new Date(1673363697664)],
  ])('%s', (bytes, expected) => {
    const encoded = hex(bytes)
    expect(readValue(encoded, 0)).toEqual(expected)
    expect(skipValue(encoded, 0)).toBe(encoded.length)
    expect(checkValue(encoded, 0)).toBe(encoded.length)
  })

  test.each([
    '',
    'a1',
    'a105616263',
    'c0',
    'c00301',
    'd0000000',
    'c003025401',
    'c1030154055401',
    'c00502540140ff',
    'f00000000dffffffff80',
    '01',
    '3f',
    '00',
  ])('malformed %s is refused', (bytes) => expect(() => checkValue(hex(bytes), 0)).toThrow(AmqpDecodeError))

  test('nesting is bounded', () => {
    expect(() => checkValue(hex('00'.repeat(1000)), 0)).toThrow(AmqpDecodeError)
    let nested = hex('45')
    for (let depth = 0; depth < 60; depth++)
      nested = Buffer.concat([hex('c0'), Buffer.from([nested.length + 1, 1]), nested])
    expect(() => checkValue(nested, 0)).toThrow(AmqpDecodeError)
  })
})

test('any bytes are a message or a decode error, never anything else', () => {
  const valid = rhea.message.encode({
    message_id: 'id',
    group_id: 's',
    application_properties: { a: 1, b: 'x' },
    message_annotations: { 'x-opt-partition-key': 'k' },
    body: [1, { k: 'v' }],
  })
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 6 }),
      fc.nat(valid.length),
      (changes, length) => {
        const bytes = Buffer.from(valid)
        for (const [at, value] of changes) bytes[at] = value
        for (const read of [parseMessage, splitBatch]) {
          try {
            read(bytes.subarray(0, length))
          } catch (error) {
            expect(error).toBeInstanceOf(AmqpDecodeError)
          }
        }
      },
    ),
    { numRuns: 3000 },
  )
})
