import { readFileSync } from 'node:fs'
import { ServiceBusClient } from '@azure/service-bus'
import { expect } from 'vitest'
import { parse, stringify } from 'yaml'
import { chatLine, eventually, startInbox, startTestStack } from './test-stack.ts'

export const prompt = 'xylophone-prompt'
export const reply = 'quokka-answer'
export const question = `Tell me of the ${prompt}. [difficulty=0] [answer=${reply}]`

export interface Answer {
  status: number
  text: string
  json: Record<string, unknown> & { id?: string; data?: { id: string }[] }
  headers: Headers
}

/** What northwind has, by the name of the parameter that takes its id; and a realtime token. */
export type Owned = Record<
  'request' | 'held' | 'delivery' | 'file' | 'output' | 'batch' | 'response' | 'endpoint' | 'key' | 'token',
  string
>

/** A stack with two tenants, of which northwind has something of everything, and contoso nothing but an administrator. */
export async function startTwoTenants() {
  const stack = await startTestStack({ config: configured() })
  const inbox = await startInbox(stack.env.SLUICE_WEBHOOK_SECRET ?? '')
  const serviceBus = new ServiceBusClient(stack.env.SERVICE_BUS_CONNECTION_STRING ?? '')
  const platform = stack.env.SLUICE_API_KEY ?? ''
  /** Every credential that was made. */
  const secrets: string[] = [platform, stack.env.SLUICE_WEBHOOK_SECRET ?? '']

  const call = async (
    key: string,
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const answer = await stack.api(path, { key, method, headers, ...(body === undefined ? {} : { body: text }) })
    const found = await answer.text()
    const isJson = answer.headers.get('content-type')?.startsWith('application/json') === true
    const json = (isJson ? JSON.parse(found) : {}) as Answer['json']
    return { status: answer.status, text: found, json, headers: answer.headers } satisfies Answer
  }

  const made = async (key: string, path: string, body: unknown, headers?: Record<string, string>): Promise<Answer> => {
    const answer = await call(key, 'POST', path, body, headers)
    expect(answer.status, `${path} ${answer.text}`).toBeLessThan(300)
    return answer
  }

  const keyOf = async (tenant: string, scopes: string[], by = platform) => {
    const { json } = await made(by, '/v1/keys', { tenant, scopes })
    secrets.push(String(json.key))
    return { key: String(json.key), id: String(json.id) }
  }

  const ended = (key: string, id: string) =>
    eventually(async () => {
      const { json } = await call(key, 'GET', `/v1/requests/${id}?wait=10`)
      return ['succeeded', 'failed', 'cancelled', 'expired'].includes(String(json.status)) ? json : undefined
    }, `the end of ${id}`)

  const upload = async (key: string, content: string): Promise<string> => {
    const form = new FormData()
    form.append('purpose', 'batch')
    form.append('file', new Blob([content]), 'northwind-lines.jsonl')
    const answer = await fetch(`${stack.env.INGEST_URL}/v1/files`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}` },
      body: form,
      signal: AbortSignal.timeout(15_000),
    })
    expect(answer.status).toBe(200)
    return ((await answer.json()) as { id: string }).id
  }

  const send = async (queue: string, message: { body: unknown; [field: string]: unknown }) => {
    const sender = serviceBus.createSender(queue)
    await sender.sendMessages(message)
    await sender.close()
  }

  /** Something of everything: a request that has ended, one that waits, a file, a batch, a response, an endpoint, a key, a token. */
  async function northwindLives(northwind: string): Promise<Owned> {
    const endpoint = await made(northwind, '/v1/webhook-endpoints', {
      url: inbox.url,
      event_types: ['sluice.endpoint.*'],
    })
    secrets.push(String(endpoint.json.secret))
    const deliver = [
      { type: 'webhook', url: inbox.url },
      { type: 'service-bus', queue: 'replies' },
    ]
    const [request, file, key, token, response] = await Promise.all([
      made(northwind, '/v1/requests', chatLine('northwind-1', question, { deliver }), { 'idempotency-key': 'same' }),
      upload(northwind, JSON.stringify(chatLine('northwind-line', question, {}, { model: 'gpt-4.1-mini' }))),
      keyOf('northwind', ['read'], northwind),
      made(northwind, '/v1/realtime/client_secrets', { session: { type: 'realtime' } }),
      made(northwind, '/v1/responses', { model: 'gpt-4.1-mini', input: question }),
    ])
    secrets.push(String(token.json.value))
    const start = { input_file_id: file, endpoint: '/v1/chat/completions', completion_window: '24h' }
    const batch = await made(northwind, '/v1/batches', start, { 'idempotency-key': 'same-batch' })
    await made(platform, '/admin/lanes/requests-interactive/pause', undefined)
    const held = await made(
      northwind,
      '/v1/requests',
      chatLine('northwind-held', question, { priority: 'interactive' }),
    )
    await ended(northwind, String(request.json.id))
    const done = await eventually(async () => {
      const { json } = await call(northwind, 'GET', `/v1/batches/${batch.json.id}`)
      return json.status === 'completed' ? json : undefined
    }, "northwind's batch")
    const delivered = await eventually(async () => {
      const { json } = await call(northwind, 'GET', `/v1/requests/${request.json.id}/deliveries`)
      const all = json.data as { id: string; status: string }[]
      return all.length === 2 && all.every(({ status }) => status === 'delivered') ? all[0]?.id : undefined
    }, "northwind's deliveries")
    return {
      request: String(request.json.id),
      held: String(held.json.id),
      delivery: delivered,
      file,
      output: String(done.output_file_id),
      batch: String(batch.json.id),
      response: String(response.json.id),
      endpoint: String(endpoint.json.id),
      key: key.id,
      token: String(token.json.value),
    }
  }

  const stop = async () => {
    await serviceBus.close()
    await inbox.close()
    await stack.stop()
  }
  const populate = async () => {
    const northwind = (await keyOf('northwind', ['admin'])).key
    const contoso = (await keyOf('contoso', ['admin'])).key
    return { northwind, contoso, owned: await northwindLives(northwind) }
  }
  const { northwind, contoso, owned } = await populate().catch(async (error: unknown) => {
    await stop()
    throw error
  })

  /** What northwind sees of its own, to be compared with what it sees after contoso's attempts. */
  const seenByNorthwind = () =>
    Promise.all(
      [
        `/v1/requests/${owned.request}`,
        `/v1/requests/${owned.held}`,
        `/v1/requests/${owned.request}/deliveries`,
        '/v1/requests',
        '/v1/deliveries?status=delivered',
        '/v1/files',
        `/v1/files/${owned.file}/content`,
        '/v1/batches',
        `/v1/responses/${owned.response}`,
        '/v1/webhook-endpoints',
        '/v1/keys',
        '/v1/usage',
      ].map(async (path) => {
        const { status, text } = await call(northwind, 'GET', path)
        expect(status, path).toBe(200)
        // Estimates and signed links differ with the time of asking.
        return text.replace(/"place":\{.*?\}\}?,|sig=[^"]*/g, '').replace(/"reset_ms":\d+/g, '')
      }),
    )

  const leaks = (text: string): string[] =>
    [prompt, reply, 'northwind', inbox.url, ...Object.values(owned), ...secrets].filter((word) => text.includes(word))

  /** An error of OpenAI's shape that tells nothing of northwind, beyond what the caller named itself. */
  const refused = (answer: Answer, said = '') => {
    expect(answer.json.error, answer.text).toEqual(
      expect.objectContaining({ message: expect.any(String) as string, type: expect.any(String) as string }),
    )
    expect(leaks(answer.text).filter((word) => !said.includes(word))).toEqual([])
  }

  /** Every documented operation. */
  const operations = async (): Promise<{ method: string; path: string }[]> => {
    const { json } = await call('', 'GET', '/openapi.json')
    return Object.entries(json.paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({ method: method.toUpperCase(), path })),
    )
  }

  return {
    ...{ stack, serviceBus, platform, northwind, contoso, owned, secrets },
    ...{ call, made, keyOf, ended, upload, send, seenByNorthwind, leaks, refused, operations },
    inboxUrl: inbox.url,
    stop,
  }
}

const configured = () => {
  const config = parse(readFileSync('config/sluice.yaml', 'utf8')) as {
    lanes: Record<string, { tenants: unknown; default_tenant?: string }>
    batches: object
    tenants: Record<string, object>
  }
  const local = config.tenants.local as object
  config.lanes['requests-bulk'] = {
    ...config.lanes['requests-bulk'],
    tenants: ['northwind'],
    default_tenant: 'northwind',
  }
  config.tenants.northwind = { ...local, reply_queues: ['replies'] }
  config.tenants.contoso = { webhooks: { secrets: ['${SLUICE_WEBHOOK_SECRET}'] }, budget: { day_usd: 50 } }
  return stringify(config)
}

/** The body that a route would take from its owner, for those that take one. */
export const bodies: Record<string, unknown> = {
  'PATCH /v1/keys/{id}': { disabled: true },
  'POST /v1/keys/{id}/rotate': {},
  'PATCH /v1/webhook-endpoints/{id}': { status: 'disabled' },
  'POST /v1/webhook-endpoints/{id}/rotate-secret': {},
}
/** Which of northwind's ids a path takes. */
export const idsFor = (path: string, owned: Owned): string[] => {
  const kinds: [RegExp, (keyof Owned)[]][] = [
    [/\/requests\/\{id\}/, ['request', 'held', 'batch']],
    [/\/files\/\{id\}/, ['file', 'output']],
    [/\/batches\/\{id\}/, ['batch']],
    [/\/responses\/\{id\}/, ['response']],
    [/\/keys\/\{id\}/, ['key']],
    [/\/webhook-endpoints\/\{id\}/, ['endpoint']],
  ]
  const kind = kinds.find(([pattern]) => pattern.test(path))
  return (kind?.[1] ?? []).map((name) => owned[name])
}

/** Ways to name northwind's blob. */
export const foreignBlobs = [
  'northwind/body.json',
  '/northwind/body.json',
  'contoso/../northwind/body.json',
  'contoso/..%2fnorthwind/body.json',
  'contoso/%2e%2e/northwind/body.json',
  'contoso\\..\\northwind\\body.json',
  'contoso/%252e%252e/northwind/body.json',
  './northwind/body.json',
]

/** Everything that lists or sums up, aimed at northwind where it takes an aim. */
export const listsOf = (owned: Owned): string[] => [
  '/v1/requests?limit=100',
  '/v1/requests?custom_id=northwind-1',
  `/v1/requests?continuation=${encodeURIComponent(owned.request)}`,
  '/v1/deliveries?status=delivered',
  `/v1/deliveries?status=delivered&endpoint=${owned.endpoint}`,
  '/v1/files?limit=100',
  `/v1/files?after=${owned.file}`,
  '/v1/batches?limit=100',
  `/v1/batches?after=${owned.batch}`,
  '/v1/webhook-endpoints',
  '/v1/keys',
  '/v1/usage',
  '/v1/models',
  '/openapi.json',
  '/health/ready',
  '/metrics',
]

/** What neither a key that reads nor one that submits may do. */
export const beyondScope = (
  reader: string,
  submitter: string,
  owned: Owned,
): [key: string, method: string, path: string, body?: unknown][] => [
  [reader, 'POST', '/v1/requests', chatLine('scopes', question)],
  [reader, 'POST', '/v1/chat/completions', chatLine('scopes', question).body],
  [reader, 'POST', '/v1/batches', { input_file_id: 'file-x', endpoint: '/v1/chat/completions' }],
  [reader, 'POST', '/v1/batches/batch_x/cancel'],
  [reader, 'DELETE', `/v1/requests/${owned.request}`],
  [reader, 'DELETE', '/v1/files/file-x'],
  [reader, 'POST', '/v1/realtime/client_secrets', {}],
  [reader, 'POST', '/api/ModelRouter', { message: question }],
  [reader, 'POST', '/v1/deliveries/replay', { since: '2020-01-01T00:00:00Z' }],
  [reader, 'PUT', '/v1/signalr/groups/g/users/u'],
  [reader, 'POST', '/v1/webhook-endpoints', { url: 'https://example.com/' }],
  [submitter, 'POST', '/v1/webhook-endpoints', { url: 'https://example.com/' }],
  [submitter, 'POST', '/v1/keys', { scopes: ['admin'] }],
  [submitter, 'GET', '/v1/requests'],
  [submitter, 'GET', '/v1/files'],
  [submitter, 'GET', '/v1/usage'],
  [submitter, 'POST', '/negotiate?user=u'],
]
