import { EventHubConsumerClient } from '@azure/event-hubs'
import { ServiceBusClient } from '@azure/service-bus'
import { HubConnectionBuilder, LogLevel } from '@microsoft/signalr'
import type { ResultEvent } from '@sluice/contracts'
import { afterAll, beforeAll, expect, test } from 'vitest'
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

const send = async (
  messages: Parameters<ReturnType<ServiceBusClient['createSender']>['sendMessages']>[0],
  queue = 'requests-standard',
) => {
  const sender = serviceBus.createSender(queue)
  await sender.sendMessages(messages)
  await sender.close()
}

const webhookOf = (customId: string) => eventually(() => inbox.of(customId)[0]?.event, `the webhook of ${customId}`)

/** The calls of the model that carried a request's id. */
const modelCalls = async (requestId: string) => {
  const answer = await fetch(`${stack.controls.openai}/calls?limit=1000`)
  const { calls } = (await answer.json()) as { calls: object[] }
  return calls.filter((call) => JSON.stringify(call).includes(requestId))
}

test('a line on Service Bus arrives as a signed webhook, a SignalR message and an Event Hubs event', async () => {
  const viaSignalR: ResultEvent[] = []
  const viaEventHubs: ResultEvent[] = []
  const connection = new HubConnectionBuilder()
    .withUrl(`${stack.env.INGEST_URL}?user=u1`, { accessTokenFactory: () => stack.env.SLUICE_API_KEY ?? '' })
    .configureLogging(LogLevel.None)
    .build()
  connection.on('finished', (event: ResultEvent) => viaSignalR.push(event))
  await connection.start()
  const consumer = new EventHubConsumerClient('$Default', stack.env.EVENT_HUBS_CONNECTION_STRING ?? '', 'results')
  const subscription = consumer.subscribe(
    {
      processEvents: async (events) => {
        for (const { body } of events) viaEventHubs.push(body as ResultEvent)
      },
      processError: async () => {},
    },
    { startPosition: { offset: '-1' } },
  )
  try {
    const deliver = [{ type: 'webhook', url: inbox.url }, { type: 'signalr', user: 'u1' }, { type: 'event-hubs' }]
    await send({ body: chatLine('walk-1', 'What is the capital of Sweden?', { deliver }), correlationId: 'walk-1' })
    const event = await webhookOf('walk-1')
    await eventually(() => viaSignalR[0], 'the SignalR message')
    await eventually(() => viaEventHubs[0], 'the Event Hubs event')

    expect(event).toMatchObject({
      specversion: '1.0',
      type: 'sluice.request.succeeded',
      source: '/sluice/local',
      data: { custom_id: 'walk-1', error: null, response: { status_code: 200 } },
    })
    expect(event.id).toBe(`${event.subject}.succeeded`)
    expect(event.data.sluice.decision).toMatchObject({
      tier: 'small',
      deployment: expect.stringContaining('phi-4-mini') as string,
    })
    expect(event.data.sluice.decision?.why).not.toBe('')
    expect(event.data.sluice.usage.output_tokens).toBeGreaterThan(0)
    expect(event.data.sluice.cost_usd).toBeGreaterThan(0)
    expect(viaSignalR[0]).toEqual(event)
    expect(viaEventHubs[0]).toEqual(event)
    expect(inbox.of('walk-1')[0]?.webhookId).toBe(event.id)

    const stored = (await (await stack.api(`/v1/requests/${event.subject}`)).json()) as {
      status: string
      result: unknown
    }
    expect(stored).toMatchObject({ status: 'succeeded', result: event.data })
    const deliveries = await eventually(async () => {
      const { data } = (await (await stack.api(`/v1/requests/${event.subject}/deliveries`)).json()) as {
        data: { sink: string; status: string }[]
      }
      return data.length === 3 && data.every(({ status }) => status === 'delivered') ? data : undefined
    }, 'three delivered rows')
    expect(deliveries.map(({ sink }) => sink).sort()).toEqual(['event-hubs', 'signalr', 'webhook'])
  } finally {
    await subscription.close()
    await consumer.close()
    await connection.stop()
  }
})

test('POST /v1/requests answers 202 with id and Location; the same key is the same request, another body a conflict', async () => {
  const line = chatLine('http-1', 'Say hello in French.', { deliver: [{ type: 'webhook', url: inbox.url }] })
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
  const submit = (body: unknown) =>
    stack.api('/v1/requests', {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'idempotency-key': 'order-17', traceparent: `00-${trace}-00f067aa0ba902b7-01` },
    })
  const first = await submit(line)
  const { id } = (await first.json()) as { id: string }
  expect(first.status).toBe(202)
  expect(first.headers.get('location')).toBe(`/v1/requests/${id}`)
  const again = await submit(line)
  expect(again.status).toBe(202)
  expect(((await again.json()) as { id: string }).id).toBe(id)
  const other = await submit({ ...line, body: { ...line.body, max_tokens: 51 } })
  expect(other.status).toBe(409)
  expect(await other.json()).toMatchObject({ error: { code: 'idempotency_conflict', type: 'invalid_request_error' } })
  const event = await webhookOf('http-1')
  expect(event.subject).toBe(id)
  expect(event.traceparent).toContain(trace)
  expect(await modelCalls(id)).toHaveLength(1)
})

test('the same message sent again has its result already and is not called again', async () => {
  const message = {
    body: chatLine('again-1', 'Name three primary colours.', { deliver: [{ type: 'webhook', url: inbox.url }] }),
    messageId: 'again-1',
  }
  await send(message)
  const event = await webhookOf('again-1')
  await send(message)
  await send({ body: chatLine('again-2', 'Is water wet?', { deliver: [{ type: 'webhook', url: inbox.url }] }) })
  await webhookOf('again-2')
  const queue = serviceBus.createReceiver('requests-standard')
  await eventually(async () => ((await queue.peekMessages(1)).length === 0 ? true : undefined), 'an empty queue')
  await queue.close()
  expect(await modelCalls(event.subject)).toHaveLength(1)
})

test('a 429 fails over to another deployment', async () => {
  await fetch(`${stack.controls.openai}/faults`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      type: 'status',
      deployment: 'phi-4-mini',
      status: 429,
      count: 1,
    }),
  })
  await send({
    body: chatLine('failover-1', 'What does HTTP stand for?', { deliver: [{ type: 'webhook', url: inbox.url }] }),
  })
  const { decision } = (await webhookOf('failover-1')).data.sluice
  const [refused, answered, ...more] = decision?.attempts ?? []
  expect([refused?.status, answered?.status, more]).toEqual([429, 200, []])
  expect(new Set([refused?.deployment, answered?.deployment])).toEqual(
    new Set(['phi-4-mini-eastus2', 'phi-4-mini-swedencentral']),
  )
  expect(decision?.deployment).toBe(answered?.deployment)
})

test('a webhook that is refused at first is tried again with the same id', async () => {
  inbox.refusals.push(500)
  await send({
    body: chatLine('retry-1', 'How many days are in a leap year?', { deliver: [{ type: 'webhook', url: inbox.url }] }),
  })
  const event = await webhookOf('retry-1')
  const { data } = (await (await stack.api(`/v1/requests/${event.subject}/deliveries`)).json()) as {
    data: { attempts: { status: number }[] }[]
  }
  expect(data[0]?.attempts[0]?.status).toBe(500)
  expect(inbox.of('retry-1')[0]?.webhookId).toBe(event.id)
})

test('a large answer lies in Blob and reaches the webhook whole', async () => {
  const deliver = [{ type: 'webhook', url: inbox.url }]
  await send({ body: chatLine('large-1', '[tokens=8000] Tell a long story.', { deliver }, { max_tokens: 8000 }) })
  const event = await webhookOf('large-1')
  const body = event.data.response?.body as { choices: { message: { content: string } }[] }
  expect(JSON.stringify(body).length).toBeGreaterThan(16 * 1024)
  const { result } = (await (await stack.api(`/v1/requests/${event.subject}`)).json()) as {
    result: { response: { body_ref: { url: string; bytes: number } } }
  }
  const linked = await fetch(result.response.body_ref.url)
  expect(await linked.json()).toEqual(body)
})

test('speech reaches the webhook as a link, and from there a transcription as its text', async () => {
  const sluice = { deliver: [{ type: 'webhook', url: inbox.url }] }
  const words = { model: 'gpt-4o-mini-tts', voice: 'alloy', input: 'Friday it is.', response_format: 'wav' }
  await send({ body: { custom_id: 'say', method: 'POST', url: '/v1/audio/speech', body: words, sluice } })
  const { data } = await webhookOf('say')
  const { url = '', ...file_ref } = data.response?.body_ref ?? { blob: '', sha256: '', bytes: 0, content_type: '' }
  expect(data.response?.body).toBeUndefined()
  const sound = Buffer.from(await (await fetch(url)).arrayBuffer())
  expect(sound.subarray(0, 4).toString()).toBe('RIFF')
  const body = { model: 'gpt-4o-transcribe' }
  await send({ body: { custom_id: 'hear', method: 'POST', url: '/v1/audio/transcriptions', body, file_ref, sluice } })
  expect((await webhookOf('hear')).data.response?.body).toMatchObject({ text: 'Friday it is.' })
  const other = { ...file_ref, sha256: '0'.repeat(64) }
  await send({
    body: { custom_id: 'lie', method: 'POST', url: '/v1/audio/transcriptions', body, file_ref: other, sluice },
  })
  expect((await webhookOf('lie')).data.error).toMatchObject({ code: 'body_ref_mismatch' })
})

test('a large request over HTTP travels as a claim check', async () => {
  const line = chatLine('large-2', `Summarise: ${'lorem ipsum '.repeat(30_000)}`, {
    deliver: [{ type: 'webhook', url: inbox.url }],
  })
  const answer = await stack.api('/v1/requests', { method: 'POST', body: JSON.stringify(line) })
  expect(answer.status).toBe(202)
  expect((await webhookOf('large-2')).type).toBe('sluice.request.succeeded')
})

test('every line of a file on queue batches becomes a request of its own, and bad lines are answered', async () => {
  const { BlobServiceClient } = await import('@azure/storage-blob')
  const container = BlobServiceClient.fromConnectionString(
    stack.env.AZURE_STORAGE_CONNECTION_STRING ?? '',
  ).getContainerClient('sluice')
  const lines = Array.from({ length: 20 }, (_, n) => JSON.stringify(chatLine(`file-${n}`, `What is ${n} + 1?`)))
  lines.splice(10, 0, '{"custom_id":"file-bad","method":"POST","url":"/v1/nowhere","body":{}}', 'no json')
  await container.getBlockBlobClient('local/in.jsonl').upload(lines.join('\r\n'), Buffer.byteLength(lines.join('\r\n')))
  const body = {
    custom_id: 'file',
    input: { blob: 'local/in.jsonl' },
    sluice: { deliver: [{ type: 'webhook', url: inbox.url }] },
  }
  await send({ body }, 'batches')
  for (let n = 0; n < 20; n++) expect((await webhookOf(`file-${n}`)).type).toBe('sluice.request.succeeded')
  const bad = await webhookOf('file-bad')
  expect(bad.data.error).toMatchObject({
    code: 'unsupported_url',
    message: expect.stringContaining('line 11') as string,
  })
})

test('a running request is cancelled, and its sinks hear of it', async () => {
  const fault = (method: string, body?: object) =>
    fetch(`${stack.controls.openai}/faults`, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  await fault('POST', { type: 'delay', ms: 30_000 })
  const line = chatLine('cancel-1', 'Say hello.', { deliver: [{ type: 'webhook', url: inbox.url }] })
  const { id } = (await (await stack.api('/v1/requests', { method: 'POST', body: JSON.stringify(line) })).json()) as {
    id: string
  }
  await eventually(async () => {
    const { status } = (await (await stack.api(`/v1/requests/${id}`)).json()) as { status: string }
    return status === 'running' ? true : undefined
  }, 'the request to run')
  const answer = await stack.api(`/v1/requests/${id}`, { method: 'DELETE' })
  expect(await answer.json()).toMatchObject({ status: 'cancel_requested' })
  const event = await webhookOf('cancel-1')
  await fault('DELETE')
  expect(event).toMatchObject({
    type: 'sluice.request.cancelled',
    data: { response: null, error: { code: 'cancelled' } },
  })
})

test('a line whose deadline has passed expires without a call', async () => {
  const deadline = new Date(Date.now() - 1000).toISOString()
  await send({ body: chatLine('late-1', 'Say hello.', { deadline, deliver: [{ type: 'webhook', url: inbox.url }] }) })
  const event = await webhookOf('late-1')
  expect(event).toMatchObject({ type: 'sluice.request.expired', data: { error: { code: 'deadline_exceeded' } } })
  expect(await modelCalls(event.subject)).toEqual([])
})

test('a reply queue that is on the list gets the result on its session', async () => {
  await send({
    body: chatLine('reply-1', 'Say hello.'),
    replyTo: 'replies-sessions',
    replyToSessionId: 'session-7',
    correlationId: 'reply-1',
  })
  const receiver = await serviceBus.acceptSession('replies-sessions', 'session-7')
  const [reply] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 30_000 })
  expect(reply?.correlationId).toBe('reply-1')
  expect(reply?.body).toMatchObject({ type: 'sluice.request.succeeded', data: { custom_id: 'reply-1' } })
  if (reply !== undefined) await receiver.completeMessage(reply)
  await receiver.close()
})

test('probes and metrics answer; no log line holds a prompt or a key', async () => {
  const ready = await fetch(`${stack.env.INGEST_URL}/health/ready`)
  expect(await ready.json()).toMatchObject({ status: 'running', checks: { cosmos: { ok: true } } })
  for (const path of ['/health/live', '/health/startup', '/health']) {
    expect((await fetch(`${stack.env.INGEST_URL}${path}`)).status, path).toBe(200)
  }
  for (const service of ['INGEST', 'ROUTER_WORKER', 'BATCH_WORKER', 'NOTIFIER']) {
    const url = stack.env[`${service}_HEALTH_URL`] ?? ''
    for (const path of ['/health/live', '/health/ready', '/health/startup']) {
      expect((await fetch(url + path)).status, `${service} ${path}`).toBe(200)
    }
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('process_cpu_seconds_total')
  }
  expect(await (await fetch(`${stack.env.INGEST_URL}/metrics`)).text()).toContain('service="ingest"')
  const all = stack.logs.join('\n')
  expect(all).toContain('"requestId":"req_')
  for (const secret of [
    'capital of Sweden',
    'lorem ipsum',
    stack.env.SLUICE_API_KEY ?? '',
    stack.env.SLUICE_WEBHOOK_SECRET ?? '',
  ]) {
    expect(all).not.toContain(secret)
  }
})

test('an endpoint that was registered over HTTP gets its tenant’s events, and its secret verifies them', async () => {
  const unsigned = await startInbox(stack.env.SLUICE_WEBHOOK_SECRET ?? '')
  const created = await stack.api('/v1/webhook-endpoints', {
    method: 'POST',
    body: JSON.stringify({ url: unsigned.url, event_types: ['sluice.request.succeeded'] }),
  })
  expect(created.status).toBe(201)
  const { id, secret } = (await created.json()) as { id: string; secret: string }
  await unsigned.close()
  const own = await startInbox(secret)
  const moved = await stack.api(`/v1/webhook-endpoints/${id}`, {
    method: 'PATCH',
    body: JSON.stringify({ url: own.url }),
  })
  expect(moved.status).toBe(200)
  // What the notifier knows of an endpoint may be a few seconds old.
  let n = 0
  await eventually(async () => {
    const line = chatLine(`registered-${n++}`, 'Say yes.')
    expect((await stack.api('/v1/requests', { method: 'POST', body: JSON.stringify(line) })).status).toBe(202)
    await new Promise((resolve) => setTimeout(resolve, 250))
    return own.received.length > 0 ? true : undefined
  }, 'an event at the registered endpoint')
  expect(own.unverified()).toBe(0)
  expect((await stack.api(`/v1/webhook-endpoints/${id}`, { method: 'DELETE' })).status).toBe(204)
  await own.close()
})
