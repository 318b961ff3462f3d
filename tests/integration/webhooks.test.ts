import { createEndpointSchema } from '@sluice/contracts'
import { ServiceBusClient } from '@azure/service-bus'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import {
  eventually,
  finished,
  type Ground,
  inlineSecret,
  startNotifierGround,
  startReceiver,
  startWebhooks,
  verified,
} from './notifier-fixture.ts'

vi.setConfig({ testTimeout: 150_000 })

let ground: Ground & { stop(): Promise<void> }
let webhooks: Awaited<ReturnType<typeof startWebhooks>>
beforeAll(async () => {
  ground = await startNotifierGround()
  webhooks = await startWebhooks(ground)
})
afterAll(async () => {
  await webhooks.stop()
  await ground.stop()
})

const register = (url: string, over: object = {}, tenant = 'contoso') =>
  webhooks.endpoints.create(tenant, createEndpointSchema.parse({ url, ...over }))

test('an inline url gets the event, signed, once in effect, and its attempt is recorded', async () => {
  const receiver = await startReceiver((_, response) => response.writeHead(200).end('thank you'.repeat(200)))
  const event = finished()
  await webhooks.publish(event, [{ type: 'webhook', url: `${receiver.url}/a` }])
  await eventually(() => receiver.of(event.id).length === 1)
  const [arrival] = receiver.arrivals
  if (arrival === undefined) throw new Error('nothing arrived')
  expect(verified(inlineSecret, arrival)).toEqual(event)
  expect(() => verified(`whsec_${'A'.repeat(43)}=`, arrival)).toThrow()
  const row = await eventuallyRow(event.subject, 'delivered')
  expect(row.attempts).toMatchObject([{ status: 200, excerpt: 'thank you'.repeat(200).slice(0, 1024) }])
  // The broker may hand over the same message twice: the row knows.
  await webhooks.publish(event, [{ type: 'webhook', url: `${receiver.url}/a` }])
  await webhooks.publish(finished('contoso', { subject: 'last' }), [{ type: 'webhook', url: `${receiver.url}/b` }])
  await eventually(() => receiver.arrivals.some(({ path }) => path === '/b'))
  expect((await webhooks.deliveries.listFor('contoso', event.subject))[0]?.attempts).toHaveLength(1)
  await receiver.close()
})

async function eventuallyRow(subject: string, status: string, tenant = 'contoso') {
  let found: Awaited<ReturnType<typeof webhooks.deliveries.listFor>>[number] | undefined
  await eventually(async () => {
    found = (await webhooks.deliveries.listFor(tenant, subject)).find((row) => row.status === status)
    return found !== undefined
  })
  if (found === undefined) throw new Error('no row')
  return found
}

test('registered endpoints get the events that they asked for, of their own tenant', async () => {
  const receiver = await startReceiver()
  const all = await register(`${receiver.url}/all`)
  await register(`${receiver.url}/batches`, { event_types: ['sluice.batch.*'] })
  await register(`${receiver.url}/failed`, { event_types: ['sluice.request.failed'] })
  await register(`${receiver.url}/fabrikam`, {}, 'fabrikam')
  const request = finished()
  await webhooks.publish(request)
  const batch = finished('contoso', { id: 'batch_1.completed', type: 'sluice.batch.completed', subject: 'batch_1' })
  await webhooks.batches.create({
    id: 'batch_1',
    tenant: 'contoso',
    batch: 'batch_1',
    deliver: [{ type: 'webhook', url: `${receiver.url}/inline` }],
  })
  await webhooks.publish(batch, null, { kind: 'batch' })
  await webhooks.publish(finished('fabrikam'))
  await eventually(() => receiver.arrivals.length >= 5)
  const got = (path: string) => receiver.arrivals.filter((one) => one.path === path).map(({ id }) => id)
  expect(got('/all').sort()).toEqual([batch.id, request.id].sort())
  expect(got('/batches')).toEqual([batch.id])
  expect(got('/inline')).toEqual([batch.id])
  expect(got('/failed')).toEqual([])
  expect(got('/fabrikam')).toHaveLength(1)
  const signed = receiver.arrivals.find(({ path }) => path === '/all')
  if (signed === undefined) throw new Error('nothing arrived')
  expect(verified(all.secret, signed)).toBeDefined()
  expect(() => verified(inlineSecret, signed)).toThrow()
  for (const { id } of await webhooks.endpoints.list('contoso')) await webhooks.endpoints.remove('contoso', id)
  for (const { id } of await webhooks.endpoints.list('fabrikam')) await webhooks.endpoints.remove('fabrikam', id)
  await receiver.close()
})

test('while a secret is being rotated both the old and the new one verify; with no overlap only the new one', async () => {
  const receiver = await startReceiver()
  const { row, secret: old } = await register(receiver.url)
  const { secret: fresh } = await webhooks.endpoints.rotate('contoso', row.id, 60_000)
  await webhooks.publish(finished())
  await eventually(() => receiver.arrivals.length === 1)
  const [both] = receiver.arrivals
  if (both === undefined) throw new Error('nothing arrived')
  expect(verified(old, both)).toEqual(verified(fresh, both))
  await expect(webhooks.endpoints.rotate('contoso', row.id, 60_000)).rejects.toMatchObject({ code: 'conflict' })
  const { secret: last } = await webhooks.endpoints.rotate('contoso', row.id, 0)
  await webhooks.publish(finished())
  await eventually(() => receiver.arrivals.length === 2)
  const one = receiver.arrivals[1]
  if (one === undefined) throw new Error('nothing arrived')
  expect(verified(last, one)).toBeDefined()
  for (const secret of [old, fresh]) expect(() => verified(secret, one)).toThrow()
  await webhooks.endpoints.remove('contoso', row.id)
  await receiver.close()
})

test('a refusal is tried again with the same id, and Retry-After is honoured', async () => {
  const answers = [500, 429, 302, 204]
  const receiver = await startReceiver((_, response) => {
    const status = answers.shift() ?? 204
    response
      .writeHead(status, status === 429 ? { 'retry-after': '1' } : { location: `${receiver.url}/elsewhere` })
      .end()
  })
  const event = finished()
  await webhooks.publish(event, [{ type: 'webhook', url: receiver.url }])
  const row = await eventuallyRow(event.subject, 'delivered')
  expect(row.attempts.map(({ status }) => status)).toEqual([500, 429, 302, 204])
  expect(receiver.of(event.id).map(({ path }) => path)).toEqual(['/', '/', '/', '/'])
  const [, second, third] = receiver.arrivals
  expect((third?.atMs ?? 0) - (second?.atMs ?? 0)).toBeGreaterThanOrEqual(1_000)
  await receiver.close()
})

test('after its last attempt a delivery has failed, with a reason, and a replay starts anew', async () => {
  let broken = true
  const receiver = await startReceiver((_, response) => response.writeHead(broken ? 500 : 204).end())
  const event = finished()
  await webhooks.publish(event, [{ type: 'webhook', url: receiver.url }])
  const failed = await eventuallyRow(event.subject, 'failed')
  expect(failed.attempts).toHaveLength(6)
  expect(failed.reason).toBe('no success in 6 attempts')
  broken = false
  expect(await webhooks.deliveries.reopen(failed, Date.now() - 10_000)).toBe(true)
  const again = await eventuallyRow(event.subject, 'delivered')
  expect(again.attempts).toHaveLength(7)
  await receiver.close()
})

test('410 disables an endpoint at once, the others hear of it, and what came meanwhile can be replayed', async () => {
  const receiver = await startReceiver(({ path }, response) => response.writeHead(path === '/gone' ? 410 : 204).end())
  const { row } = await register(`${receiver.url}/gone`, { event_types: ['sluice.request.*'] })
  const other = await register(`${receiver.url}/other`, { event_types: ['sluice.endpoint.disabled'] })
  const [first, second] = [finished(), finished()]
  await webhooks.publish(first)
  await eventually(() => receiver.arrivals.some(({ path }) => path === '/other'))
  const told = receiver.arrivals.find(({ path }) => path === '/other')
  expect(told?.event).toMatchObject({
    id: `${row.id}.disabled.1`,
    type: 'sluice.endpoint.disabled',
    subject: row.id,
    data: { reason: 'gone' },
  })
  expect(await webhooks.endpoints.get('contoso', row.id)).toMatchObject({
    status: 'disabled',
    disabled: { reason: 'gone' },
  })
  await webhooks.publish(second)
  expect(await eventuallyRow(second.subject, 'failed')).toMatchObject({
    reason: 'endpoint_disabled: gone',
    attempts: [],
  })
  expect(receiver.arrivals.filter(({ path }) => path === '/gone')).toHaveLength(1)
  await webhooks.endpoints.remove('contoso', row.id)
  await webhooks.endpoints.remove('contoso', other.row.id)
  await receiver.close()
})

test('what is not an event of Sluice is dead-lettered with its reason', async () => {
  const client = new ServiceBusClient(ground.amqp.serviceBusConnectionString)
  const sender = client.createSender('results')
  for (const body of ['no json', '[]', JSON.stringify(finished('contoso', { source: '/sluice/' }))]) {
    await sender.sendMessages({ body: Buffer.from(body) })
  }
  const dead = client.createReceiver('results', 'webhooks', { subQueueType: 'deadLetter' })
  const messages = await dead.receiveMessages(3, { maxWaitTimeInMs: 10_000 })
  await eventually(async () => {
    if (messages.length < 3) messages.push(...(await dead.receiveMessages(1, { maxWaitTimeInMs: 1_000 })))
    return messages.length === 3
  })
  expect(messages.map(({ deadLetterReason }) => deadLetterReason)).toEqual(Array(3).fill('invalid_line'))
  await client.close()
})
