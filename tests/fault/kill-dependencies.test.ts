import { ServiceBusClient } from '@azure/service-bus'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { chatLine, eventually, startInbox, startTestStack, type TestStack } from '../e2e/test-stack.ts'

// What the platform stands on is killed, or loses its memory, in the middle: the brokers, the ledger's store, Redis.

const count = 60
let stack: TestStack
let inbox: Awaited<ReturnType<typeof startInbox>>

beforeAll(async () => {
  stack = await startTestStack({ durable: true, env: { BEAT_MS: '500', LEASE_MS: '3000', SWEEP_INTERVAL_MS: '500' } })
  inbox = await startInbox(stack.env.SLUICE_WEBHOOK_SECRET ?? '')
}, 120_000)
afterAll(async () => {
  await inbox.close()
  await stack.stop()
}, 60_000)

/** The model takes its time, so that there is a middle in which to kill. */
async function slowModel(): Promise<void> {
  await fetch(`${stack.controls.openai}/faults`, { method: 'DELETE' })
  const answer = await fetch(`${stack.controls.openai}/faults`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'delay', ms: 400 }),
  })
  expect(answer.ok).toBe(true)
}

/** SIGKILL; resolves when the process has been started again, so that the next test finds it there. */
async function killAndAwaitRestart(name: string): Promise<void> {
  const child = stack.processes.get(name)
  const killed = child?.pid
  child?.kill()
  await eventually(() => (child?.pid === undefined || child.pid === killed ? undefined : true), `${name} started again`)
  await child?.whenReady()
}

test.each(['amqp', 'cosmos', 'redis', 'openai'])('%s is killed in the middle and comes back', async (name) => {
  await slowModel()
  const client = new ServiceBusClient(stack.env.SERVICE_BUS_CONNECTION_STRING ?? '')
  const lines = Array.from({ length: count }, (_, n) => ({
    body: chatLine(`${name}-${n}`, `What is ${n} minus 1?`, { deliver: [{ type: 'webhook', url: inbox.url }] }),
  }))
  await client.createSender('requests-standard').sendMessages(lines)
  await client.close()
  await eventually(() => (inbox.of(`${name}-0`).length > 0 ? true : undefined), 'the first answer')
  expect(lines.some(({ body }) => inbox.of(body.custom_id).length === 0)).toBe(true)
  const restarted = killAndAwaitRestart(name)
  await eventually(
    () => (lines.every(({ body }) => inbox.of(body.custom_id).length > 0) ? true : undefined),
    `all answers although ${name} was killed`,
    120_000,
  )
  await restarted
  for (const { body } of lines) {
    expect(new Set(inbox.of(body.custom_id).map(({ webhookId }) => webhookId)).size).toBe(1)
    expect(inbox.of(body.custom_id)[0]?.event.type).toBe('sluice.request.succeeded')
  }
})

test('Redis is flushed while webhooks wait for their next attempt', async () => {
  const refused = 10
  inbox.refusals.push(...Array.from({ length: refused }, () => 503))
  const client = new ServiceBusClient(stack.env.SERVICE_BUS_CONNECTION_STRING ?? '')
  const ids = Array.from({ length: refused }, (_, n) => `flush-${n}`)
  const deliver = [{ type: 'webhook', url: inbox.url }]
  await client
    .createSender('requests-standard')
    .sendMessages(ids.map((id) => ({ body: chatLine(id, 'Hi.', { deliver }) })))
  await client.close()
  await eventually(() => (inbox.refusals.length === 0 ? true : undefined), 'ten refused attempts')
  const { Redis } = await import('ioredis')
  const redis = new Redis(stack.env.REDIS_URL ?? '')
  await redis.flushall()
  redis.disconnect()
  await eventually(
    () => (ids.every((id) => inbox.of(id).length > 0) ? true : undefined),
    'every webhook in spite of that',
    120_000,
  )
})
