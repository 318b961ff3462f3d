import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { systemClock } from '@sluice/resilience'
import { Webhook } from 'standardwebhooks'
import { afterEach, expect, test, vi } from 'vitest'
import { createWebhookSender } from '../../services/notifier/src/webhook-sender.ts'
import { finished, inlineSecret, platformOf, startReceiver, verified } from './notifier-fixture.ts'

vi.setConfig({ testTimeout: 150_000 })

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})
const opened = <T extends { close(): Promise<unknown> }>(one: T): T => {
  closing.push(() => one.close())
  return one
}
const platform = platformOf({
  contoso: { webhooks: { secrets: [inlineSecret], allow_hosts: ['127.0.0.1'] } },
  strict: {},
})
const senderOf = (over: { timeoutMs?: number; proxyUrl?: string } = {}) =>
  opened(createWebhookSender({ config: platform, clock: systemClock, timeoutMs: 1_000, signal, ...over }))
const signal = new AbortController().signal
const secrets = [inlineSecret]
/** A finished request's event and its JSON. */
const sent = (...args: Parameters<typeof finished>) => {
  const event = finished(...args)
  return [event, Buffer.from(JSON.stringify(event))] as const
}

// Standard Webhooks, "Signature scheme": the specification's own example.
test('the published vector: secret, id, timestamp and payload give the published signature', () => {
  const webhook = new Webhook('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')
  const signature = webhook.sign('msg_p5jXN8AQM9LWM0D4loKWxJek', new Date(1_614_265_330_000), '{"test": 2432232314}')
  expect(signature).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
})

test('the headers are those of the standard, and a receiver with the public package accepts them', async () => {
  const receiver = opened(await startReceiver())
  const event = finished('contoso', { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' })
  const answer = await senderOf().post(
    'contoso',
    { url: receiver.url, secrets },
    event,
    Buffer.from(JSON.stringify(event)),
  )
  expect(answer).toEqual({ status: 204, excerpt: '', retryAfterMs: undefined })
  const [arrival] = receiver.arrivals
  if (arrival === undefined) throw new Error('nothing arrived')
  expect(verified(inlineSecret, arrival)).toEqual(event)
  expect(arrival.headers).toMatchObject({
    'webhook-id': event.id,
    'content-type': 'application/cloudevents+json',
    traceparent: event.traceparent,
  })
  const tampered = { ...arrival, body: arrival.body.replace('order', 'other') }
  expect(() => verified(inlineSecret, tampered)).toThrow()
})

test('a receiver that says nothing is given up; one that talks for ever is cut off and its status counts', async () => {
  const silent = opened(await startReceiver(() => undefined))
  const late = senderOf({ timeoutMs: 100 }).post('contoso', { url: silent.url, secrets }, ...sent())
  await expect(late).rejects.toMatchObject({ code: 'delivery_failed', message: 'no answer within 100 ms' })
  let written = 0
  const endless = opened(
    await startReceiver((_, response) => {
      response.writeHead(200)
      const write = () => {
        while (!response.destroyed && response.write('x'.repeat(16_384))) written++
      }
      response.on('drain', write)
      write()
    }),
  )
  const answer = await senderOf().post('contoso', { url: endless.url, secrets }, ...sent())
  expect(answer.status).toBe(200)
  expect(answer.excerpt).toBe('x'.repeat(1_024))
  expect(written).toBeGreaterThan(0)
})

test.each([
  ['http://example.com/', /https/],
  ['https://127.0.0.1/', /not a public address/],
  ['https://2130706433/', /not a public address/],
  ['https://0x7f.1/', /not a public address/],
  ['https://169.254.169.254/metadata/instance', /not a public address/],
  ['https://[::ffff:10.0.0.1]/', /not a public address/],
  ['https://localhost/', /not a public address/],
])('%s is refused for a tenant that may not call it', async (url, message) => {
  await expect(senderOf().post('strict', { url, secrets }, ...sent('strict'))).rejects.toMatchObject({
    code: 'delivery_refused',
    message: expect.stringMatching(message) as string,
  })
})

test('without a secret nothing is sent', async () => {
  const receiver = opened(await startReceiver())
  const unsigned = senderOf().post('contoso', { url: receiver.url, secrets: [] }, ...sent())
  await expect(unsigned).rejects.toMatchObject({ code: 'delivery_refused' })
  expect(receiver.arrivals).toEqual([])
})

test('with an egress proxy the proxy resolves and connects; literal private addresses are refused before it', async () => {
  const asked: string[] = []
  const proxy = createServer()
  proxy.on('connect', (request, socket) => {
    asked.push(String(request.url))
    // It answers as a proxy that bars the host: that is its business and not ours.
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  closing.push(() => new Promise((resolve) => proxy.close(resolve)))
  const sender = senderOf({ proxyUrl: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}` })
  const named = sender.post('strict', { url: 'https://hooks.example/in', secrets }, ...sent('strict'))
  await expect(named).rejects.toMatchObject({ code: 'delivery_failed' })
  expect(asked).toEqual(['hooks.example:443'])
  const literal = sender.post('strict', { url: 'https://10.0.0.1/', secrets }, ...sent('strict'))
  await expect(literal).rejects.toMatchObject({ code: 'delivery_refused' })
  expect(asked).toHaveLength(1)
})
