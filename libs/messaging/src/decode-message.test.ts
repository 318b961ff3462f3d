import { expect, test } from 'vitest'
import { decodeMessage } from './decode-message.ts'

const bytes = (...parts: (number | string | Buffer | readonly number[])[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part as string))))
const section = (code: number, ...value: Parameters<typeof bytes>) => bytes(0x00, 0x53, code, ...value)
const short = (code: number, count: number, ...values: Buffer[]): Buffer => {
  const all = Buffer.concat(values)
  return Buffer.concat([bytes(code, all.length + 1, count), all])
}
const text = (value: string) => bytes(0xa1, value.length, value)
/** A message whose application properties are one value of that encoding. */
const withProperty = (value: Buffer) => Buffer.concat([section(0x74), short(0xc1, 2, text('p'), value)])
const propertyOf = (value: Buffer) => decodeMessage(withProperty(value))?.application_properties

const values: [string, Buffer, unknown][] = [
  ['null', bytes(0x40), null],
  ['true', bytes(0x41), true],
  ['false', bytes(0x42), false],
  ['uint0', bytes(0x43), 0],
  ['ubyte', bytes([0x50, 200]), 200],
  ['smallint', bytes([0x54, 0xff]), -1],
  ['short', bytes([0x61, 0xff, 0xfe]), -2],
  ['ushort', bytes([0x60, 0xff, 0xfe]), 65_534],
  ['uint', bytes([0x70, 0xff, 0xff, 0xff, 0xff]), 4_294_967_295],
  ['int', bytes([0x71, 0xff, 0xff, 0xff, 0xfd]), -3],
  ['ulong', bytes([0x80, 0, 0, 0, 1, 0, 0, 0, 2]), 4_294_967_298],
  ['a negative long', bytes([0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc]), -4],
  ['a long that no double holds', bytes([0x81, 0x7f, 0, 0, 0, 0, 0, 0, 1]), Buffer.from('7f00000000000001', 'hex')],
  ['double', bytes([0x82, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]), 1.5],
  ['float', bytes([0x72, 0x3f, 0xc0, 0, 0]), 1.5],
  ['timestamp', bytes([0x83, 0, 0, 1, 0x9a, 0, 0, 0, 0]), new Date(0x19a * 2 ** 32)],
  ['a short text', text('e'), 'e'],
  ['a long text', bytes([0xb1, 0, 0, 0, 2], 'é'), 'é'],
  ['symbol', bytes([0xa3, 2], 'ab'), 'ab'],
  ['binary', bytes([0xa0, 2, 1, 2]), Buffer.from([1, 2])],
]
test.each(values)('a property of type %s', (_, encoded, expected) => {
  expect(propertyOf(encoded)).toEqual({ p: expected })
})

test('sections of a message, with what is read of them', () => {
  const message = Buffer.concat([
    section(0x70),
    short(0xc0, 5, bytes(0x41), bytes(0x40), bytes(0x40), bytes(0x40), bytes([0x52, 3])),
    section(0x71),
    short(0xc1, 2, bytes([0xa3, 1], 'd'), bytes(0x41)),
    section(0x72),
    short(0xc1, 2, bytes([0xa3, 1], 'a'), bytes([0x55, 7])),
    section(0x73),
    short(0xc0, 4, text('m1'), bytes(0x40), text('to'), text('subject')),
    section(0x75, [0xb0, 0, 0, 0, 4], 'body'),
    section(0x78),
    short(0xc1, 0),
  ])
  expect(decodeMessage(message)).toEqual({
    delivery_count: 3,
    message_annotations: { a: 7 },
    message_id: 'm1',
    subject: 'subject',
    body: Buffer.from('body'),
  })
})

test('empty lists are lists', () => {
  expect(decodeMessage(Buffer.concat([section(0x70, 0x45), section(0x73, 0x45)]))).toEqual({})
})

const list = short(0xc0, 1, bytes(0x41))
test.each([
  ['a value as body', section(0x77, 0x41)],
  ['a sequence as body', Buffer.concat([section(0x76), list])],
  ['two data sections', Buffer.concat([section(0x75, [0xa0, 0]), section(0x75, [0xa0, 0])])],
  ['a list in a property', withProperty(list)],
  ['a type that AMQP lacks', withProperty(bytes(0x99))],
  ['a section by its symbol', bytes(0x00, [0xa3, 1], 'x')],
  ['a name that is no text', Buffer.concat([section(0x74), short(0xc1, 2, bytes(0x41), bytes(0x41))])],
  ['a name that objects have a meaning for', Buffer.concat([section(0x74), short(0xc1, 2, text('__proto__'), list)])],
  ['bytes without a section', bytes(0x41)],
])('%s is left to rhea', (_, message) => {
  expect(decodeMessage(message)).toBeUndefined()
})

test('a message that ends too early is left to rhea, wherever it ends', () => {
  const parts = [
    section(0x72, [0xd1, 0, 0, 0, 13, 0, 0, 0, 2], [0xa3, 1], 'a', [0x71, 0, 0, 0, 1]),
    section(0x73, [0xd0, 0, 0, 0, 8, 0, 0, 0, 1], text('m1')),
    section(0x75, [0xa0, 2, 1, 2]),
  ] as const
  const message = Buffer.concat(parts)
  expect(decodeMessage(message)).toMatchObject({ message_id: 'm1', body: Buffer.from([1, 2]) })
  const lengths = Array.from({ length: message.length }, (_, length) => length)
  const whole = lengths.filter((length) => decodeMessage(message.subarray(0, length)) !== undefined)
  // Between two sections it is a shorter message.
  expect(whole).toEqual([0, parts[0].length, parts[0].length + parts[1].length])
})
