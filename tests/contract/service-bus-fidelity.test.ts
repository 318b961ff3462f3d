import { startAmqpEmulator, type AmqpEmulator } from '@sluice/emulator-amqp'
import type { Connection } from 'rhea'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { closeRaw, connectRaw, receiveRaw, sendRaw } from './raw-amqp-client.ts'

const serviceBusConfig = {
  UserConfig: {
    Namespaces: [
      {
        Name: 'ns',
        Queues: [{ Name: 'golden' }, { Name: 'batch' }, { Name: 'sections' }, { Name: 'no-properties' }, { Name: 'malformed' }],
        Topics: [{ Name: 'topic', Properties: {}, Subscriptions: [{ Name: 'acted', Rules: [{ Name: 'r', Properties: { FilterType: 'Sql', SqlFilter: { SqlExpression: '1=1' }, Action: { SqlExpression: "SET added = 'a'" } } }] }] }],
      },
    ],
  },
}
const eventHubsConfig = { UserConfig: { NamespaceConfig: [{ Name: 'ns', Entities: [{ Name: 'hub', PartitionCount: 1 }] }] } }

let emulator: AmqpEmulator
let connection: Connection
beforeAll(async () => {
  emulator = await startAmqpEmulator({ serviceBusConfig, eventHubsConfig })
  connection = await connectRaw(emulator.port)
})
afterAll(async () => {
  await closeRaw(connection)
  await emulator.close()
})

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')

// One application property of every AMQP type, in encodings that re-encoding would change: an int that would become a
// smallint or uint, a full-width ulong of 1, a ulong beyond 2^63, decimals, a char, a described timespan, a symbol.
const golden = {
  annotations: hex(`005372 c1 17 04  a3 06 782d6d696e65 71 00000005  a3 03 6b6579 61 0007 40`.replace('40', '')),
  properties: hex(`005373 c0 12 05  98 000102030405060708090a0b0c0d0e0f  40 40 40 40`.replace('c0 12', 'c0 16')),
  body: hex('005375 a0 03 010203'),
}

const typed: [string, string][] = [
  ['nul', '40'], ['tru', '41'], ['fal', '5600'], ['ub', '50ff'], ['us', '60fffe'], ['ui', '70fffffffe'], ['su', '5207'], ['u0', '43'],
  ['ul', '80ffffffffffffffff'], ['u1', '800000000000000001'], ['sl', '5309'], ['l0', '44'], ['by', '5180'], ['sh', '618000'], ['in', '7100000007'],
  ['si', '54f9'], ['lo', '818000000000000000'], ['ll', '550a'], ['fl', '723f800000'], ['do', '824000000000000000'], ['d3', '7422500001'],
  ['d6', '842238000000000001'], ['d1', '9422080000000000000000000000000001'], ['ch', '7300000041'], ['ts', '83000001859c3fb000'],
  ['uu', '98000102030405060708090a0b0c0d0e0f'], ['bi', 'a003010203'], ['b4', 'b000000002ffee'], ['st', 'a103c3a478'], ['s4', 'b10000000178'],
  ['sy', 'a30373796d'], ['de', '00a3166d6963726f736f66743a74696d657370616e2d786d6c550a'.replace('16', '17').replace('2d786d6c', '2d786d6c2d')],
]

const section = (descriptor: number, code: number, body: Buffer, count: number): Buffer => {
  const head = Buffer.alloc(12)
  head.set([0x00, 0x53, descriptor, code])
  head.writeUInt32BE(body.length + 4, 4)
  head.writeUInt32BE(count, 8)
  return Buffer.concat([head, body])
}
const key = (name: string, code: number): Buffer => Buffer.concat([Buffer.from([code, name.length]), Buffer.from(name)])
const applicationProperties = (entries: [string, string][]): Buffer =>
  section(0x74, 0xd1, Buffer.concat(entries.flatMap(([name, value]) => [key(name, 0xa1), hex(value)])), entries.length * 2)
const annotations = (entries: [string, string][]): Buffer =>
  section(0x72, 0xd1, Buffer.concat(entries.flatMap(([name, value]) => [key(name, 0xa3), hex(value)])), entries.length * 2)
const properties = section(0x73, 0xd0, Buffer.concat([hex('98000102030405060708090a0b0c0d0e0f'), hex('4040'), key('subject', 0xa1)]), 4)
const everyType = typed.filter(([name]) => name !== 'de')

describe('what goes in comes out', () => {
  test('properties, application properties of every type, and the body keep their bytes', async () => {
    const bare = Buffer.concat([properties, applicationProperties([...everyType, ['described', '0080000000010000000081000000000000000a']]), golden.body])
    expect(await sendRaw(connection, 'golden', bare)).toBe('accepted')
    const received = await receiveRaw(connection, 'golden')
    expect(received.subarray(-bare.length).toString('hex')).toBe(bare.toString('hex'))
  })

  test("the sender's annotations keep their bytes beside the broker's; those of the broker cannot be forged", async () => {
    const mine = annotations([['x-mine', '7100000005'], ['x-opt-sequence-number', '550f'], ['x-list', 'c00401a10178']])
    expect(await sendRaw(connection, 'sections', Buffer.concat([mine, properties, golden.body]))).toBe('accepted')
    const received = (await receiveRaw(connection, 'sections')).toString('hex')
    expect(received).toContain(Buffer.concat([key('x-mine', 0xa3), hex('7100000005')]).toString('hex'))
    expect(received).toContain(Buffer.concat([key('x-list', 0xa3), hex('c00401a10178')]).toString('hex'))
    expect(received).toContain(Buffer.concat([key('x-opt-sequence-number', 0xa3), hex('810000000000000001')]).toString('hex'))
    expect(received).not.toContain(Buffer.concat([key('x-opt-sequence-number', 0xa3), hex('550f')]).toString('hex'))
  })

  test('a message in a batch, with sequence and value bodies, keeps its bytes', async () => {
    const bare = Buffer.concat([properties, applicationProperties(everyType), hex('005376 c0 05 02 7100000001'.replace('c0 05 02', 'c0 07 02')), hex('').subarray(0)])
    const valid = Buffer.concat([properties, applicationProperties(everyType), hex('005376c00602710000000141')])
    const second = Buffer.concat([properties, hex('00537771fffffffe')])
    const data = (payload: Buffer): Buffer => {
      const head = hex('005375b000000000')
      head.writeUInt32BE(payload.length, 4)
      return Buffer.concat([head, payload])
    }
    expect(bare.length).toBeGreaterThan(0)
    expect(await sendRaw(connection, 'batch', Buffer.concat([data(valid), data(second)]), 0x80013700)).toBe('accepted')
    expect((await receiveRaw(connection, 'batch')).subarray(-valid.length).toString('hex')).toBe(valid.toString('hex'))
    expect((await receiveRaw(connection, 'batch')).subarray(-second.length).toString('hex')).toBe(second.toString('hex'))
  })

  test('an action changes only what it sets', async () => {
    const bare = Buffer.concat([properties, applicationProperties(everyType), golden.body])
    expect(await sendRaw(connection, 'topic', bare)).toBe('accepted')
    const received = (await receiveRaw(connection, 'topic/Subscriptions/acted')).toString('hex')
    expect(received).toContain(properties.toString('hex'))
    for (const [name, value] of everyType) expect(received).toContain(Buffer.concat([key(name, 0xa1), hex(value)]).toString('hex'))
    expect(received).toContain(Buffer.concat([key('added', 0xa1), key('a', 0xa1)]).toString('hex'))
    expect(received.endsWith(golden.body.toString('hex'))).toBe(true)
  })

  test('an event keeps its bytes', async () => {
    const bare = Buffer.concat([properties, applicationProperties(everyType), golden.body])
    expect(await sendRaw(connection, 'hub', bare)).toBe('accepted')
    const received = await receiveRaw(connection, 'hub/ConsumerGroups/$Default/Partitions/0')
    expect(received.subarray(-bare.length).toString('hex')).toBe(bare.toString('hex'))
  })

  test('a message without properties gets the section with an id, and the rest stays', async () => {
    const bare = Buffer.concat([applicationProperties([['n', '5407']]), golden.body])
    expect(await sendRaw(connection, 'no-properties', bare)).toBe('accepted')
    const received = await receiveRaw(connection, 'no-properties')
    expect(received.subarray(-bare.length).toString('hex')).toBe(bare.toString('hex'))
    expect(received.subarray(0, -bare.length).toString('latin1')).toMatch(/[0-9a-f]{32}$/)
  })
})

test.each([
  ['nothing but a number', hex('5407')],
  ['a section that ends too early', hex('005375a0ff01')],
  ['sections out of order', Buffer.concat([golden.body, properties])],
  ['two kinds of body', Buffer.concat([golden.body, hex('00537754ff')])],
  ['an unknown section', hex('0053795407')],
  ['a map with half an entry', hex('005374c10301a10178'.replace('c103', 'c104'))],
  ['a count beyond the data', hex('005374d100000008ffffffff00000000')],
  ['a list where a map belongs', hex('005374c00301540754'.slice(0, 14))],
])('a malformed message is rejected: %s', async (_, payload) => {
  expect(await sendRaw(connection, 'malformed', payload)).toBe('rejected')
})
