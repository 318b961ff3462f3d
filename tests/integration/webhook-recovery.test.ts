import { createEndpointSchema } from '@sluice/contracts'
import { systemClock } from '@sluice/resilience'
import { createLogger, createMetrics } from '@sluice/telemetry'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createDeliveryMetrics } from '../../services/notifier/src/delivery-metrics.ts'
import { watchBacklog } from '../../services/notifier/src/watch-backlog.ts'
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

test('Redis loses its memory while webhooks wait for their next attempt: the rows bring them back', async () => {
  const webhooks = await startWebhooks(ground, { settings: { WEBHOOK_RETRY_MS: [300, 300, 300] }, graceMs: 500 })
  let refusing = true
  const receiver = await startReceiver((_, response) => response.writeHead(refusing ? 503 : 204).end())
  const events = Array.from({ length: 5 }, () => finished())
  for (const event of events) await webhooks.publish(event, [{ type: 'webhook', url: receiver.url }])
  await eventually(() => events.every(({ id }) => receiver.of(id).length > 0))
  await ground.redis.kill()
  refusing = false
  const whileAway = finished()
  // A first attempt needs no timer, so it comes although Redis is away.
  await webhooks.publish(whileAway, [{ type: 'webhook', url: receiver.url }])
  await eventually(() => receiver.of(whileAway.id).length > 0)
  await ground.redis.restart()
  await eventually(async () => (await webhooks.deliveries.backlog()).pending === 0)
  for (const { subject, id } of events) {
    const [row] = await webhooks.deliveries.listFor('contoso', subject)
    expect(row).toMatchObject({ status: 'delivered', eventId: id })
  }
  await receiver.close()
  await webhooks.stop()
})

test('a stop in the middle of a call leaves the delivery due, and the next notifier makes it', async () => {
  let answering = false
  const receiver = await startReceiver((_, response) => {
    if (answering) response.writeHead(204).end()
  })
  const settings = { WEBHOOK_TIMEOUT_MS: 20_000, WEBHOOK_HOLD_MS: 20 }
  const first = await startWebhooks(ground, { settings })
  const event = finished()
  await first.publish(event, [{ type: 'webhook', url: receiver.url }])
  await eventually(async () => (await first.deliveries.listFor('contoso', event.subject)).length === 1)
  await first.stop()
  const [row] = await first.deliveries.listFor('contoso', event.subject)
  expect(row).toMatchObject({ status: 'pending', attempts: [] })
  expect(Date.parse(row?.next_attempt_at ?? '')).toBeLessThanOrEqual(Date.now())
  answering = true
  await receiver.close()
})

test('an endpoint that failed for as long as it may is disabled, and every failing delivery with it', async () => {
  const webhooks = await startWebhooks(ground, {
    settings: { WEBHOOK_DISABLE_AFTER_MS: 300, WEBHOOK_RETRY_MS: Array.from({ length: 50 }, () => 100) },
  })
  const receiver = await startReceiver(({ path }, response) => response.writeHead(path === '/ok' ? 204 : 500).end())
  const input = createEndpointSchema.parse({ url: `${receiver.url}/broken`, event_types: ['sluice.request.*'] })
  const { row } = await webhooks.endpoints.create('contoso', input)
  const listening = { url: `${receiver.url}/ok`, event_types: ['sluice.endpoint.*'] }
  await webhooks.endpoints.create('contoso', createEndpointSchema.parse(listening))
  const event = finished()
  await webhooks.publish(event)
  await eventually(() => receiver.arrivals.some(({ path }) => path === '/ok'))
  const stored = await webhooks.endpoints.get('contoso', row.id)
  expect(stored).toMatchObject({ status: 'disabled', disabled: { reason: 'failing' }, announced: true })
  await eventually(async () => (await webhooks.deliveries.listFor('contoso', event.subject))[0]?.status === 'failed')
  const enabled = await webhooks.endpoints.update('contoso', row.id, { status: 'enabled' })
  expect(enabled).toMatchObject({ status: 'enabled', disabled: null, failing_since: null })
  await receiver.close()
  await webhooks.stop()
})

test('a success in between forgets that an endpoint was failing', async () => {
  const webhooks = await startWebhooks(ground)
  let status = 500
  const receiver = await startReceiver((_, response) => response.writeHead(status).end())
  const { row } = await webhooks.endpoints.create('contoso', createEndpointSchema.parse({ url: receiver.url }))
  const failingSince = async () => (await webhooks.endpoints.get('contoso', row.id))?.failing_since
  await webhooks.publish(finished())
  await eventually(async () => typeof (await failingSince()) === 'string')
  status = 204
  await eventually(async () => (await failingSince()) === null)
  await receiver.close()
  await webhooks.stop()
})

test('how far behind the sinks are can be read: what waits in a subscription, and the attempts that are overdue', async () => {
  const webhooks = await startWebhooks(ground, { settings: { WEBHOOK_RETRY_MS: [600_000] } })
  const receiver = await startReceiver((_, response) => response.writeHead(500).end())
  const metrics = createMetrics('test')
  const backlog = watchBacklog({
    serviceBus: webhooks.serviceBus,
    topic: 'results',
    subscriptions: ['webhooks', 'watch'],
    deliveries: webhooks.deliveries,
    metrics: createDeliveryMetrics(metrics),
    clock: systemClock,
    logger: createLogger({ service: 'test', level: 'silent' }),
  })
  const event = finished()
  await webhooks.publish(event, [{ type: 'webhook', url: receiver.url }])
  await eventually(async () => (await webhooks.deliveries.backlog()).pending === 1)
  await backlog.lookOnce()
  const { text } = await metrics.render()
  const gauge = (name: string) => Number(new RegExp(`^${name}[^ ]* (.*)$`, 'm').exec(text)?.[1])
  expect(gauge('sluice_webhooks_pending')).toBe(1)
  // Nobody reads `watch`: everything that this file published waits there.
  expect(gauge('sluice_sink_oldest_seconds\\{sink="watch"')).toBeGreaterThan(0)
  expect(gauge('sluice_sink_oldest_seconds\\{sink="webhook-attempts"')).toBe(0)
  await backlog.stop()
  await receiver.close()
  await webhooks.stop()
})
