import { ServiceBusClient, type ServiceBusReceivedMessage } from '@azure/service-bus'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { chatLine, eventually, startInbox, startTestStack, type TestStack } from './test-stack.ts'

let stack: TestStack
let inbox: Awaited<ReturnType<typeof startInbox>>
let serviceBus: ServiceBusClient

beforeAll(async () => {
  stack = await startTestStack()
  inbox = await startInbox(stack.env.SLUICE_WEBHOOK_SECRET ?? '')
  serviceBus = new ServiceBusClient(stack.env.SERVICE_BUS_CONNECTION_STRING ?? '')
}, 120_000)
afterAll(async () => {
  await serviceBus.close()
  await inbox.close()
  await stack.stop()
}, 60_000)

const deadLetter = async (messageId: string): Promise<ServiceBusReceivedMessage> => {
  const receiver = serviceBus.createReceiver('requests-standard', { subQueueType: 'deadLetter' })
  try {
    return await eventually(async () => {
      const messages = await receiver.peekMessages(100)
      return messages.find((message) => message.messageId === messageId)
    }, `the dead letter ${messageId}`)
  } finally {
    await receiver.close()
  }
}

describe('on Service Bus bad input is dead-lettered with a reason that names the field, and its sender hears of it', () => {
  const target = () => [{ type: 'webhook', url: inbox.url }]
  const good = (id: string) => chatLine(id, 'hi', { deliver: target() })
  const ref = { blob: 'local/nowhere.json', sha256: '0'.repeat(64), bytes: 10, content_type: 'application/json' }

  test.each<[string, (id: string) => unknown, string, string, boolean]>([
    ['invalid JSON', () => Buffer.from('{"custom_id": '), 'invalid_json', 'JSON', false],
    ['bytes that are not UTF-8', () => Buffer.from([0xff, 0xfe]), 'invalid_json', 'UTF-8', false],
    ['no object', () => Buffer.from('[]'), 'invalid_line', 'object', false],
    ['an unknown url', (id) => ({ ...good(id), url: '/v1/images' }), 'unsupported_url', 'url', true],
    ['a missing body', (id) => ({ ...good(id), body: undefined }), 'invalid_line', 'body', true],
    ['wrong types', (id) => ({ ...good(id), body: { messages: 'hi' } }), 'invalid_line', 'body.messages', true],
    [
      'a claim check that points nowhere',
      (id) => ({ ...good(id), body: undefined, body_ref: ref }),
      'body_ref_not_found',
      'body_ref',
      true,
    ],
    [
      "another tenant's claim check",
      (id) => ({ ...good(id), body: undefined, body_ref: { ...ref, blob: 'contoso/x.json' } }),
      'body_ref_not_found',
      'body_ref.blob',
      true,
    ],
    [
      'an over-large line',
      (id) => chatLine(id, 'x'.repeat(200_000), { deliver: target() }),
      'message_too_large',
      'body_ref',
      true,
    ],
    [
      'a reply queue that is a lane',
      (id) => ({ ...good(id), sluice: { deliver: [...target(), { type: 'service-bus', queue: 'requests-bulk' }] } }),
      'invalid_line',
      'sluice.deliver[1].queue',
      true,
    ],
  ])('%s', async (name, make, reason, field, answered) => {
    const id = name.replaceAll(' ', '-')
    const sender = serviceBus.createSender('requests-standard')
    await sender.sendMessages({ body: make(id), messageId: id })
    await sender.close()
    const letter = await deadLetter(id)
    expect(letter.deadLetterReason).toBe(reason)
    expect(letter.deadLetterErrorDescription).toContain(field)
    if (!answered) return
    const { event } = await eventually(() => inbox.of(id)[0], `the failed result of ${id}`)
    expect(event).toMatchObject({ type: 'sluice.request.failed', data: { response: null, error: { code: reason } } })
  })

  test('the same message id with another body is a conflict and leaves the first result alone', async () => {
    const sender = serviceBus.createSender('requests-standard')
    await sender.sendMessages({ body: good('conflict-1'), messageId: 'conflict' })
    const { event } = await eventually(() => inbox.of('conflict-1')[0], 'the first result')
    await sender.sendMessages({ body: good('conflict-2'), messageId: 'conflict' })
    await sender.close()
    expect((await deadLetter('conflict')).deadLetterReason).toBe('idempotency_conflict')
    const stored = (await (await stack.api(`/v1/requests/${event.subject}`)).json()) as {
      custom_id: string
      status: string
    }
    expect(stored).toMatchObject({ custom_id: 'conflict-1', status: 'succeeded' })
    expect(inbox.of('conflict-2')).toEqual([])
  })
})

describe('over HTTP bad input is answered in the OpenAI error shape', () => {
  const post = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
    stack.api('/v1/requests', { method: 'POST', body, headers })

  test.each<[string, () => Promise<Response>, number, string, string | null]>([
    ['invalid JSON', () => post('{'), 400, 'invalid_json', null],
    ['an empty body', () => post(''), 400, 'invalid_json', null],
    ['an unknown url', () => post(JSON.stringify({ ...chatLine('x', 'y'), url: '/x' })), 400, 'unsupported_url', 'url'],
    [
      'wrong types',
      () => post(JSON.stringify({ ...chatLine('x', 'y'), body: { messages: [1] } })),
      400,
      'invalid_line',
      'body.messages[0]',
    ],
    ['a body over the limit', () => post(`"${'x'.repeat(5_000_000)}"`), 413, 'message_too_large', 'body'],
    [
      'a form',
      () => post('a=b', { 'content-type': 'application/x-www-form-urlencoded' }),
      415,
      'unsupported_media_type',
      'Content-Type',
    ],
    ['text', () => post('hello', { 'content-type': 'text/plain' }), 415, 'unsupported_media_type', 'Content-Type'],
    [
      "another tenant's name",
      () => post(JSON.stringify(chatLine('x', 'y', { tenant: 'contoso' }))),
      403,
      'tenant_not_allowed',
      'sluice.tenant',
    ],
    [
      'a webhook into the network',
      () => post(JSON.stringify(chatLine('x', 'y', { deliver: [{ type: 'webhook', url: 'http://10.0.0.1/' }] }))),
      400,
      'invalid_line',
      'sluice.deliver[0].url',
    ],
    [
      'a bad key for a repeat',
      () => post('{}', { 'idempotency-key': 'x'.repeat(300) }),
      400,
      'invalid_line',
      'Idempotency-Key',
    ],
    ['an unknown route', () => stack.api('/v2/nothing'), 404, 'not_found', null],
    ['an id that is none', () => stack.api('/v1/requests/req_1'), 404, 'not_found', 'id'],
    ['an id of nobody', () => stack.api(`/v1/requests/req_${'0'.repeat(32)}`), 404, 'not_found', 'id'],
    ['no key', () => stack.api('/v1/requests', { method: 'POST', body: '{}', key: null }), 401, 'unauthorized', null],
    [
      'a wrong key',
      () => stack.api('/v1/requests', { method: 'POST', body: '{}', key: 'slk_wrong' }),
      401,
      'unauthorized',
      null,
    ],
    ['a SignalR user that is not said', () => stack.api('/negotiate', { method: 'POST' }), 400, 'invalid_line', 'user'],
  ])('%s', async (_, call, status, code, param) => {
    const answer = await call()
    const body = (await answer.json()) as { error: { type: string; message: string } }
    expect(body).toMatchObject({ error: { code, param } })
    expect(answer.status).toBe(status)
    expect(body.error.message).not.toBe('')
  })

  test("another tenant's request is as unknown as one that never was", async () => {
    const key = 'slk_of_another_tenant_0123456789'
    const { connectCosmos } = await import('@sluice/storage')
    const { createHash } = await import('node:crypto')
    const cosmos = connectCosmos({
      endpoint: stack.env.COSMOS_ENDPOINT ?? '',
      key: stack.env.COSMOS_KEY ?? '',
      database: 'sluice',
    })
    const hash = createHash('sha256').update(key).digest('hex')
    const row = { id: hash.slice(0, 16), tenant: 'contoso', hash, scopes: ['submit', 'read'] }
    await cosmos.rows<typeof row>('keys').create(row)
    await cosmos.close()
    const mine = await stack.api('/v1/requests', { method: 'POST', body: JSON.stringify(chatLine('secret', 'hi')) })
    const { id } = (await mine.json()) as { id: string }
    expect((await stack.api(`/v1/requests/${id}`)).status).toBe(200)
    for (const [method, path] of [
      ['GET', `/v1/requests/${id}`],
      ['DELETE', `/v1/requests/${id}`],
      ['GET', `/v1/requests/${id}/deliveries`],
    ] as const) {
      const theirs = await stack.api(path, { method, key })
      expect([theirs.status, await theirs.json()], path).toEqual([
        404,
        { error: { message: 'No such request.', type: 'invalid_request_error', param: 'id', code: 'not_found' } },
      ])
    }
  })
})
