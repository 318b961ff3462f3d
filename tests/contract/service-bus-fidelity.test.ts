import type { Connection } from 'rhea'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openEventHubs, type EventHubsNamespace } from './event-hubs-namespace.ts'
import { closeRaw, connectRaw, receiveRaw, sendRaw } from './raw-amqp-client.ts'
import { onAzure, openNamespace, type ContractNamespace } from './service-bus-namespace.ts'

const act = {
  Name: 'r',
  Properties: {
    FilterType: 'Sql',
    SqlFilter: { SqlExpression: '1=1' },
    Action: { SqlExpression: "SET added = 'a'" },
  },
}

let namespace: ContractNamespace
let hubs: EventHubsNamespace
let connection: Connection
let hubsConnection: Connection
beforeAll(async () => {
  namespace = await openNamespace({
    queues: { golden: {}, batch: {}, sections: {}, 'no-properties': {}, malformed: {} },
    topics: { topic: { subscriptions: { acted: { rules: [act] } } } },
  })
  hubs = await openEventHubs([{ Name: 'hub', PartitionCount: 1 }])
  connection = await connectRaw(namespace.connectionString)
  hubsConnection = await connectRaw(hubs.connectionString)
})
afterAll(async () => {
  await closeRaw(connection)
  await closeRaw(hubsConnection)
  await namespace.close()
  await hubs.close()
})

const send = (entity: string, payload: Buffer, format?: number) =>
  sendRaw(connection, namespace.name(entity), payload, format)
const receive = (entity: string) => receiveRaw(connection, namespace.name(entity))

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')

const section = (descriptor: number, code: number, body: Buffer, count: number): Buffer => {
  const head = Buffer.alloc(12)
  head.set([0x00, 0x53, descriptor, code])
  head.writeUInt32BE(body.length + 4, 4)
  head.writeUInt32BE(count, 8)
  return Buffer.concat([head, body])
}
const key = (name: string, code: number): Buffer => Buffer.concat([Buffer.from([code, name.length]), Buffer.from(name)])
const entriesOf = (entries: [string, string][], keyCode: number): Buffer =>
  Buffer.concat(entries.flatMap(([name, value]) => [key(name, keyCode), hex(value)]))
const applicationProperties = (entries: [string, string][]): Buffer =>
  section(0x74, 0xd1, entriesOf(entries, 0xa1), entries.length * 2)
const annotations = (entries: [string, string][]): Buffer =>
  section(0x72, 0xd1, entriesOf(entries, 0xa3), entries.length * 2)

// One value of every AMQP type, in encodings that decoding and encoding again would change: an int that would become a
// smallint or a uint, a full-width ulong of 1, a ulong beyond 2^63, decimals, a char, a described value.
const everyType: [string, string][] = [
  ['null', '40'],
  ['true', '41'],
  ['false', '5600'],
  ['ubyte', '50ff'],
  ['ushort', '60fffe'],
  ['uint', '70fffffffe'],
  ['smalluint', '5207'],
  ['uint0', '43'],
  ['ulong', '80ffffffffffffffff'],
  ['ulong1', '800000000000000001'],
  ['smallulong', '5309'],
  ['ulong0', '44'],
  ['byte', '5180'],
  ['short', '618000'],
  ['int', '7100000007'],
  ['smallint', '54f9'],
  ['long', '818000000000000000'],
  ['smalllong', '550a'],
  ['float', '723f800000'],
  ['double', '824000000000000000'],
  ['decimal32', '7422500001'],
  ['decimal64', '842238000000000001'],
  ['decimal128', '9422080000000000000000000000000001'],
  ['char', '7300000041'],
  ['timestamp', '83000001859c3fb000'],
  ['uuid', '98000102030405060708090a0b0c0d0e0f'],
  ['binary', 'a003010203'],
  ['binary32', 'b000000002ffee'],
  ['string', 'a103c3a478'],
  ['string32', 'b10000000178'],
  ['symbol', 'a30373796d'],
  ['described', '0080000000010000000081000000000000000a'],
]
const properties = section(
  0x73,
  0xd0,
  Buffer.concat([hex('98000102030405060708090a0b0c0d0e0f'), hex('4040'), key('subject', 0xa1)]),
  4,
)
const body = hex('005375a003010203')

describe('what goes in comes out', () => {
  test('properties, application properties of every type, and the body keep their bytes', async () => {
    const bare = Buffer.concat([properties, applicationProperties(everyType), body])
    expect(await send('golden', bare)).toBe('accepted')
    const received = await receive('golden')
    expect(received.subarray(-bare.length).toString('hex')).toBe(bare.toString('hex'))
  })

  test("the sender's annotations keep their bytes beside the broker's; those of the broker cannot be forged", async () => {
    const mine = annotations([
      ['x-mine', '7100000005'],
      ['x-opt-sequence-number', '550f'],
      ['x-list', 'c00401a10178'],
    ])
    expect(await send('sections', Buffer.concat([mine, properties, body]))).toBe('accepted')
    const received = (await receive('sections')).toString('hex')
    expect(received).toContain(Buffer.concat([key('x-mine', 0xa3), hex('7100000005')]).toString('hex'))
    expect(received).toContain(Buffer.concat([key('x-list', 0xa3), hex('c00401a10178')]).toString('hex'))
    expect(received).toContain(
      Buffer.concat([key('x-opt-sequence-number', 0xa3), hex('810000000000000001')]).toString('hex'),
    )
    expect(received).not.toContain(Buffer.concat([key('x-opt-sequence-number', 0xa3), hex('550f')]).toString('hex'))
  })

  test('a message in a batch, with sequence and value bodies, keeps its bytes', async () => {
    const first = Buffer.concat([properties, applicationProperties(everyType), hex('005376c00702710000000141')])
    const second = Buffer.concat([properties, hex('00537771fffffffe')])
    const data = (payload: Buffer): Buffer => {
      const head = hex('005375b000000000')
      head.writeUInt32BE(payload.length, 4)
      return Buffer.concat([head, payload])
    }
    expect(await send('batch', Buffer.concat([data(first), data(second)]), 0x80013700)).toBe('accepted')
    expect((await receive('batch')).subarray(-first.length).toString('hex')).toBe(first.toString('hex'))
    expect((await receive('batch')).subarray(-second.length).toString('hex')).toBe(second.toString('hex'))
  })

  test('an action changes only what it sets', async () => {
    const bare = Buffer.concat([properties, applicationProperties(everyType), body])
    expect(await send('topic', bare)).toBe('accepted')
    const received = (await receive('topic/Subscriptions/acted')).toString('hex')
    expect(received).toContain(properties.toString('hex'))
    for (const [name, value] of everyType)
      expect(received).toContain(Buffer.concat([key(name, 0xa1), hex(value)]).toString('hex'))
    expect(received).toContain(Buffer.concat([key('added', 0xa1), key('a', 0xa1)]).toString('hex'))
    expect(received.endsWith(body.toString('hex'))).toBe(true)
  })

  test('an event keeps its bytes', async () => {
    const bare = Buffer.concat([properties, applicationProperties(everyType), body])
    expect(await sendRaw(hubsConnection, hubs.name('hub'), bare)).toBe('accepted')
    const received = await receiveRaw(hubsConnection, `${hubs.name('hub')}/ConsumerGroups/$Default/Partitions/0`)
    expect(received.subarray(-bare.length).toString('hex')).toBe(bare.toString('hex'))
  })

  test('a message without properties gets the section with an id, and the rest stays', async () => {
    const bare = Buffer.concat([applicationProperties([['n', '5407']]), body])
    expect(await send('no-properties', bare)).toBe('accepted')
    const received = await receive('no-properties')
    expect(received.subarray(-bare.length).toString('hex')).toBe(bare.toString('hex'))
    expect(received.subarray(0, -bare.length).toString('latin1')).toMatch(/[0-9a-f]{32}$/)
  })
})

test.skipIf(onAzure).each([
  ['nothing but a number', hex('5407')],
  ['a section that ends too early', hex('005375a0ff01')],
  ['sections out of order', Buffer.concat([body, properties])],
  ['two kinds of body', Buffer.concat([body, hex('00537754ff')])],
  ['an unknown section', hex('0053795407')],
  ['a map with half an entry', hex('005374c10401a10178')],
  ['a count beyond the data', hex('005374d100000008ffffffff00000000')],
  ['a list where a map belongs', hex('005374c003015407')],
])('a malformed message is rejected: %s', async (_, payload) => {
  expect(await send('malformed', payload)).toBe('rejected')
})
