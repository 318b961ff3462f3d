import { createHmac, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { createWebhookSigner } from './webhook-signer.ts'

const secretOf = (key: Buffer) => `whsec_${key.toString('base64')}`
const expected = (key: Buffer, id: string, timestamp: string, body: Buffer) =>
  `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')}`

// The vector that the Standard Webhooks specification publishes with its libraries.
test('signs what the specification signs', () => {
  const sign = createWebhookSigner()
  const signed = sign(
    ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    'msg_p5jXN8AQM9LWM0D4loKWxJek',
    '1614265330',
    Buffer.from('{"test": 2432232314}'),
  )
  expect(signed).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
})

test.each([1, 24, 32, 63, 64, 65, 200])('a key of %i bytes, again and again, with bodies of any size', (bytes) => {
  const sign = createWebhookSigner()
  const key = randomBytes(bytes)
  for (const size of [0, 1, 1_000, 16_000, 16_384, 300_000, 10]) {
    const body = randomBytes(size)
    expect(sign([secretOf(key)], 'req_é.succeeded', '1763700000', body)).toBe(
      expected(key, 'req_é.succeeded', '1763700000', body),
    )
  }
})

test('signs with each secret, in their order', () => {
  const sign = createWebhookSigner()
  const keys = [randomBytes(32), randomBytes(32)]
  const body = Buffer.from('{}')
  const signed = sign(keys.map(secretOf), 'id', '1', body)
  expect(signed).toBe(keys.map((key) => expected(key, 'id', '1', body)).join(' '))
})
