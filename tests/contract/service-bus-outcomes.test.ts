import { once } from 'node:events'
import { createRequire } from 'node:module'
import type { Connection, Container, Delivery, EventContext, Receiver, Sender } from 'rhea'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { closeRaw, connectRaw } from './raw-amqp-client.ts'
import { onAzure, openNamespace, type ContractNamespace } from './service-bus-namespace.ts'

// Below the SDKs: what the broker answers to a settlement, and to sends that end differently within one turn.

const rhea = createRequire(import.meta.url)('rhea') as Container
const signal = () => ({ signal: AbortSignal.timeout(10_000) })

let namespace: ContractNamespace
let connection: Connection
beforeAll(async () => {
  namespace = await openNamespace({ queues: { settled: {}, sent: {} } })
  connection = await connectRaw(namespace.connectionString)
})
afterAll(async () => {
  await closeRaw(connection)
  await namespace.close()
})

const message = (bytes: number) => rhea.message.encode({ body: rhea.message.data_section(Buffer.alloc(bytes, 'x')) })

async function openSender(queue: string): Promise<Sender> {
  const sender = connection.open_sender(namespace.name(queue))
  await once(sender, 'sendable', signal())
  return sender
}

test('a settlement that was carried out is answered with its own outcome, a rejection without an error', async () => {
  const sender = await openSender('settled')
  for (let count = 0; count < 4; count++) sender.send(message(10))
  const receiver: Receiver = connection.open_receiver({
    source: { address: namespace.name('settled') },
    autoaccept: false,
    autosettle: false,
    credit_window: 4,
    snd_settle_mode: 0,
    rcv_settle_mode: 1,
  })
  const deliveries: Delivery[] = []
  const answers = new Map<Delivery, string>()
  receiver.on('settled', ({ delivery }: EventContext) => {
    if (delivery === undefined) return
    const state = delivery.remote_state as unknown as { error?: unknown; constructor: { composite_type: string } }
    answers.set(delivery, state.constructor.composite_type + (state.error ? ' with an error' : ''))
  })
  await new Promise<void>((resolve) => {
    receiver.on('message', ({ delivery }: EventContext) => {
      if (delivery !== undefined) deliveries.push(delivery)
      if (deliveries.length === 4) resolve()
    })
  })
  const outcomes = rhea.message as unknown as Record<string, (fields?: object) => { described(): object }>
  const error = { condition: 'com.microsoft:dead-letter', description: 'why' }
  const asked: [string, object][] = [
    ['accepted', {}],
    ['modified', { undeliverable_here: false }],
    ['rejected', { error }],
    ['released', {}],
  ]
  for (const [index, [outcome, fields]] of asked.entries()) {
    const delivery = deliveries[index]
    delivery?.update(false, outcomes[outcome]?.(fields).described())
    await expect.poll(() => delivery && answers.get(delivery), { timeout: 10_000 }).toBe(outcome)
  }
  receiver.close()
  sender.close()
})

test.skipIf(onAzure)('of sends in one turn only those that cannot be read are refused', async () => {
  const sender = await openSender('sent')
  const ends: string[] = []
  for (const event of ['accepted', 'rejected']) sender.on(event, () => ends.push(event))
  const unreadable = Buffer.from([0, 0x53])
  for (const bytes of [message(10), unreadable, message(10), unreadable, unreadable, message(10)]) {
    sender.send(bytes, undefined, 0)
  }
  await expect.poll(() => ends.length, { timeout: 10_000 }).toBe(6)
  expect(ends.sort()).toEqual(['accepted', 'accepted', 'accepted', 'rejected', 'rejected', 'rejected'])
  sender.close()
})
