import type { ServiceBusReceivedMessage } from '@azure/service-bus'
import { ManualClock } from '@sluice/resilience'
import { expect, test } from 'vitest'
import type { LinkMessage, RheaDelivery } from './link-message.ts'
import { takeFromLink } from './link-shortcut.ts'

/** A link as rhea has it, as far as it shows here, and the SDK's way in place of the short one. */
function openLink() {
  const accepted: number[] = []
  const corks: string[] = []
  const usual: string[] = []
  const taken: LinkMessage[] = []
  const clock = new ManualClock()
  let open = true
  const rhea = {
    connection: {
      socket: { cork: () => void corks.push('cork'), uncork: () => void corks.push(`uncork after ${accepted.length}`) },
    },
    is_open: () => open,
    dispatch: (...[name]: [string, object]) => (usual.push(name), true),
  }
  const take = (message: ServiceBusReceivedMessage) => taken.push(message as unknown as LinkMessage)
  takeFromLink({ isOpen: () => open, _link: rhea }, take, clock)
  const deliveryOf = (id: number): RheaDelivery => ({
    id,
    tag: Buffer.from('00112233445566778899aabbccddeeff', 'hex'),
    link: rhea,
    settled: false,
    remote_settled: false,
    accept: () => void accepted.push(id),
  })
  const receive = (id: number): { delivery: RheaDelivery; message: LinkMessage } => {
    const delivery = deliveryOf(id)
    rhea.dispatch('message', { message: { message_id: `m${id}` }, delivery })
    const message = taken.at(-1)
    if (message === undefined) throw new Error('not taken')
    return { delivery, message }
  }
  const answer = (delivery: RheaDelivery, error?: { condition: string; description?: string }) => {
    Object.assign(delivery, { remote_settled: true, remote_state: error === undefined ? {} : { error } })
    rhea.dispatch('settled', { delivery })
  }
  return { rhea, taken, accepted, corks, usual, clock, receive, answer, close: () => (open = false) }
}
const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

test('the completions of one turn go out in the order of their deliveries, in one piece', async () => {
  const link = openLink()
  const received = [1, 2, 3].map((id) => link.receive(id))
  const done = [2, 0, 1].map(async (at) => received[at]?.message.complete())
  expect(link.accepted).toEqual([])
  await nextTurn()
  expect(link.accepted).toEqual([1, 2, 3])
  expect(link.corks).toEqual(['cork', 'uncork after 3'])
  for (const { delivery } of received) link.answer(delivery)
  expect(await Promise.all(done)).toEqual(['answered', 'answered', 'answered'])
  expect(received.every(({ delivery }) => delivery.settled)).toBe(true)
  expect(link.usual).toEqual([])
})

test('a refusal is told with its code', async () => {
  const link = openLink()
  const [lost, other] = [link.receive(1), link.receive(2)]
  const outcomes = Promise.allSettled([lost.message.complete(), other.message.complete()])
  await nextTurn()
  link.answer(lost.delivery, { condition: 'com.microsoft:message-lock-lost', description: 'gone' })
  link.answer(other.delivery, { condition: 'amqp:internal-error' })
  expect(await outcomes).toMatchObject([
    { reason: { name: 'ServiceBusError', code: 'MessageLockLost', message: 'gone' } },
    { reason: { name: 'ServiceBusError', code: 'GeneralError', message: 'amqp:internal-error' } },
  ])
})

test('a completion without an answer is given up after a while, and left to the SDK from then on', async () => {
  const link = openLink()
  const [early, late] = [link.receive(1), link.receive(2)]
  const first = early.message.complete()
  await nextTurn()
  await link.clock.advance(3_000)
  const second = late.message.complete()
  await nextTurn()
  await link.clock.advance(3_000)
  expect(await first).toBe('unanswered')
  expect(early.message.complete()).toBeUndefined()
  link.answer(late.delivery)
  expect(await second).toBe('answered')
  // What is answered after all is for whoever asked since.
  link.answer(early.delivery)
  expect(link.usual).toEqual(['settled'])
})

test('what the SDK settles, and everything else on the link, goes its usual way', () => {
  const link = openLink()
  const { delivery } = link.receive(1)
  link.answer(delivery)
  link.rhea.dispatch('receiver_error', {})
  expect(link.usual).toEqual(['settled', 'receiver_error'])
})

test('a message is not completed here when its link is gone or it is settled already', () => {
  const link = openLink()
  const settled = link.receive(1)
  settled.delivery.remote_settled = true
  const forgotten = link.receive(2)
  forgotten.delivery.link = undefined
  const closed = link.receive(3)
  link.close()
  expect([settled, forgotten, closed].map(({ message }) => message.complete())).toEqual([
    undefined,
    undefined,
    undefined,
  ])
})

test('a link that goes in the turn in which its message is completed leaves that to the SDK', async () => {
  const link = openLink()
  const { message, delivery } = link.receive(1)
  const done = message.complete()
  delivery.link = undefined
  expect(await done).toBe('unanswered')
  expect(link.accepted).toEqual([])
})

test('what a closed link still brings is dropped', () => {
  const link = openLink()
  link.close()
  expect(() => link.receive(1)).toThrow('not taken')
  expect(link.usual).toEqual([])
})

test('the lock token is the tag in the byte order of .NET', () => {
  expect(openLink().receive(1).message.lockToken).toBe('33221100-5544-7766-8899-aabbccddeeff')
})

test('an SDK with another inside keeps its own way', () => {
  const link = { isOpen: () => true, _link: {} }
  takeFromLink(link, () => undefined)
  expect(link._link).toEqual({})
})
