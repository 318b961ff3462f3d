import { createEndpointSchema } from '@sluice/contracts'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import {
  eventually,
  finished,
  type Ground,
  startNotifierGround,
  startReceiver,
  startWebhooks,
} from './notifier-fixture.ts'

vi.setConfig({ testTimeout: 150_000 })

let ground: Ground & { stop(): Promise<void> }
beforeAll(async () => {
  ground = await startNotifierGround()
})
afterAll(() => ground.stop())

test('of 1,000 endpoints 300 hang, and every other one gets its events', async () => {
  // No call that hangs ends before the test does: whoever waited for one of them would wait for ever.
  const webhooks = await startWebhooks(ground, {
    settings: {
      WEBHOOK_TIMEOUT_MS: 600_000,
      WEBHOOK_CONCURRENCY: 64,
      WEBHOOK_SLOW_CALLS: 512,
      WEBHOOK_SLOW_AFTER_MS: 100,
      WEBHOOK_HOLD_MS: 50,
    },
  })
  const receiver = await startReceiver(({ path }, response) => {
    if (path.startsWith('/works')) response.writeHead(204).end()
  })
  const wave = async (count: number) => {
    const events = Array.from({ length: count }, (_, n) => ({ event: finished(), hangs: n % 10 < 3, n }))
    await Promise.all(
      events.map(({ event, hangs, n }) =>
        webhooks.publish(event, [{ type: 'webhook', url: `${receiver.url}/${hangs ? 'hangs' : 'works'}/${n}` }]),
      ),
    )
    const healthy = events.filter(({ hangs }) => !hangs).map(({ event }) => event.id)
    await eventually(() => {
      const arrived = new Set(receiver.arrivals.map(({ id }) => id))
      return healthy.every((id) => arrived.has(id))
    })
    return healthy.length
  }
  expect(await wave(1_000)).toBe(700)
  const hanging = () =>
    new Set(receiver.arrivals.map(({ path }) => path).filter((path) => path.startsWith('/hangs'))).size
  await eventually(() => hanging() === 300)
  // Again, now that all of them hang.
  expect(await wave(200)).toBe(140)
  await receiver.close()
  await webhooks.stop()
})

test('an ordered endpoint gets one event at a time, in order, whatever fails in between', async () => {
  const webhooks = await startWebhooks(ground)
  let inHand = 0
  let most = 0
  let calls = 0
  const receiver = await startReceiver((_, response) => {
    most = Math.max(most, ++inHand)
    const status = ++calls % 3 === 0 ? 500 : 204
    setImmediate(() => {
      inHand--
      response.writeHead(status).end()
    })
  })
  const input = createEndpointSchema.parse({ url: receiver.url, fifo: 'endpoint' })
  await webhooks.endpoints.create('contoso', input)
  const base = Date.now()
  const events = Array.from({ length: 12 }, (_, n) => finished('contoso', { time: new Date(base + n).toISOString() }))
  for (const event of events) await webhooks.publish(event)
  const accepted = () => receiver.arrivals.filter((_, index) => (index + 1) % 3 !== 0).map(({ id }) => id)
  await eventually(() => accepted().length >= events.length)
  expect(accepted().slice(0, events.length)).toEqual(events.map(({ id }) => id))
  expect(most).toBe(1)
  await receiver.close()
  await webhooks.stop()
})

test('conversations of an endpoint do not wait for each other', async () => {
  const webhooks = await startWebhooks(ground, { settings: { WEBHOOK_RETRY_MS: [600_000] } })
  const receiver = await startReceiver(({ event }, response) => {
    const { id } = event.data as { id: string }
    response.writeHead(id === stuck.subject ? 500 : 204).end()
  })
  await webhooks.endpoints.create('contoso', createEndpointSchema.parse({ url: receiver.url, fifo: 'conversation' }))
  const stuck = finished('contoso', { time: '2026-01-01T00:00:00.000Z' })
  const [behind, other] = [finished(), finished()]
  await webhooks.publish(stuck, [], { conversation: 'a' })
  await eventually(() => receiver.of(stuck.id).length === 1)
  await webhooks.publish(behind, [], { conversation: 'a' })
  await webhooks.publish(other, [], { conversation: 'b' })
  await eventually(() => receiver.of(other.id).length === 1)
  await eventually(async () => {
    const [row] = await webhooks.deliveries.listFor('contoso', behind.subject)
    return Date.parse(row?.next_attempt_at ?? '') > Date.now() + 500_000
  })
  expect(receiver.of(behind.id)).toEqual([])
  await receiver.close()
  await webhooks.stop()
})
