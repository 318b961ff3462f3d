import { createServer, request, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { type Admission, assumeIdle, createAdmission } from '@sluice/admission'
import { type Deployment, type PlatformConfig, platformConfigSchema } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { systemClock } from '@sluice/resilience'
import { createLogger, createMetrics, type Metrics } from '@sluice/telemetry'
import OpenAI from 'openai'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Caller } from '../../services/ingest/src/authenticate.ts'
import { issueClientSecret } from '../../services/ingest/src/realtime/client-secrets.ts'
import { createEphemeralTokens } from '../../services/ingest/src/realtime/ephemeral-tokens.ts'
import { openRealtimeDoor, type RealtimeDoor } from '../../services/ingest/src/realtime/realtime-door.ts'
import { createSessionLog } from '../../services/ingest/src/realtime/session-log.ts'
import { deploymentOn, type ModelTwin, startModelTwin } from './model-twin.ts'
import { startPrivateRedis } from './private-redis.ts'

type Event = Record<string, unknown> & { type: string }

const apiKey = 'sk-realtime-test'
const regions = ['swedencentral', 'eastus2']
let twin: ModelTwin
let twinDied: boolean
let redis: Awaited<ReturnType<typeof startPrivateRedis>>
let admission: Admission
let metrics: Metrics
let config: PlatformConfig
let server: Server
let door: RealtimeDoor
let port: number
let sockets: WebSocket[]
let logs: string[]
let tokens: ReturnType<typeof createEphemeralTokens>

const caller: Caller = { tenant: 'contoso', scopes: ['submit'], platform: false, principal: 'key_1', limits: {} }
let spent = false
const checkBudget = async (tenant: string) => {
  if (spent) throw new AppError('budget_exceeded', `The budget of ${tenant} is used up.`, { retryAfterMs: 5_000 })
}
const apiKeyOf = ({ api_key }: Deployment) => api_key ?? ''

beforeEach(async () => {
  const realtime = (name: string) => ({
    name,
    model: name === 'rt-full' ? 'gpt-realtime' : 'gpt-realtime-mini',
    ability: 1,
  })
  ;[twin, redis] = await Promise.all([
    startModelTwin({
      config: {
        resources: regions.map((name) => ({
          name,
          region: name,
          keys: [`twin-key-${name}`],
          deployments: [realtime('rt-full'), realtime('rt-mini')],
        })),
      },
    }),
    startPrivateRedis(),
  ])
  sockets = []
  logs = []
  twinDied = false
  spent = false
  await start()
})
afterEach(async () => {
  for (const socket of sockets) socket.close()
  await stop()
  await Promise.all([twinDied ? undefined : twin.close(), redis.close()])
})

async function start(options: { idleMs?: number; modelWaitMs?: number; access?: object } = {}): Promise<void> {
  const at = (name: string, resource: string, model: string, tier: 'medium' | 'large') =>
    deploymentOn(twin, `${name}-${resource}`, {
      azure_name: name,
      resource,
      model,
      tier,
      urls: ['/v1/realtime'],
      webrtc_url: `https://${resource}.example.com/calls`,
    })
  config = platformConfigSchema.parse({
    version: 1,
    routing: { thresholds: { medium: 0.16, large: 0.45 }, aliases: { voice: ['rt-full-eastus2'] } },
    deployments: regions.flatMap((region) => [
      at('rt-full', region, 'gpt-realtime', 'large'),
      at('rt-mini', region, 'gpt-realtime-mini', 'medium'),
    ]),
    lanes: { 'requests-standard': { priority: 'standard', tenants: '*', share: 0.5 } },
    batches: { tenants: '*' },
    access: options.access ?? {},
  })
  const logger = createLogger({ service: 'test', destination: { write: (line) => void logs.push(line) } })
  metrics = createMetrics('test')
  await assumeIdle(redis.client)
  admission = createAdmission({ redis: redis.client, clock: systemClock, logger })
  tokens = createEphemeralTokens(redis.client)
  const sessions = createSessionLog({ config, clock: systemClock, logger, metrics, idleMs: options.idleMs ?? 60_000 })
  server = createServer()
  door = openRealtimeDoor(server, {
    config,
    admission,
    apiKeyOf,
    tokens,
    sessions,
    authenticate: async ({ headers }) => {
      const key = /^Bearer (.*)$/.exec(headers.authorization ?? '')?.[1] ?? headers['api-key']
      if (key !== apiKey) throw new AppError('unauthorized', 'Incorrect API key provided.')
      return caller
    },
    sharesOf: () => [],
    checkBudget: async (tenant) => checkBudget(tenant),
    clock: systemClock,
    logger,
    modelWaitMs: options.modelWaitMs ?? 10_000,
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
}

async function stop(): Promise<void> {
  await door.close(0)
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  admission.close()
}

async function restart(options: Parameters<typeof start>[0]): Promise<void> {
  await stop()
  await start(options)
}

/** A client with what browsers have: no headers, only sub-protocols. */
class Browser {
  readonly events: Event[] = []
  readonly socket: WebSocket
  code: number | undefined

  constructor(path: string, key = apiKey) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, ['realtime', `openai-insecure-api-key.${key}`])
    sockets.push(this.socket)
    this.socket.addEventListener('message', ({ data }) => this.events.push(JSON.parse(String(data)) as Event))
    this.socket.addEventListener('close', ({ code }) => (this.code = code))
    this.socket.addEventListener('error', () => {})
  }

  send(event: object): void {
    this.socket.send(JSON.stringify(event))
  }

  async opened(): Promise<void> {
    await eventually(() => this.socket.readyState === WebSocket.OPEN, 'an open socket')
  }

  async next(type: string): Promise<Event> {
    return eventually(() => this.events.find((event) => event.type === type), type)
  }

  async closed(): Promise<number> {
    return eventually(() => this.code, 'a closed socket')
  }

  async ask(text: string): Promise<Event> {
    this.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
    })
    this.send({ type: 'response.create', response: { output_modalities: ['text'] } })
    return this.next('response.done')
  }
}

async function eventually<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  what: string,
): Promise<T> {
  const until = Date.now() + 20_000
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (Date.now() > until) throw new Error(`no ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** How a handshake is refused. */
function refusal(path: string, headers: Record<string, string> = { authorization: `Bearer ${apiKey}` }) {
  const upgrade = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  }
  return new Promise<{ status: number | undefined; code: string; retryAfter: string | undefined }>(
    (resolve, reject) => {
      const call = request(`http://127.0.0.1:${port}${path}`, { headers: { ...headers, ...upgrade } })
      call.on('response', (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.on('end', () => {
          const { error } = JSON.parse(text) as { error: { code: string } }
          resolve({ status: response.statusCode, code: error.code, retryAfter: response.headers['retry-after'] })
        })
      })
      call.on('upgrade', (_, socket) => {
        socket.destroy()
        reject(new Error('the handshake succeeded'))
      })
      call.on('error', reject)
      call.end()
    },
  )
}

const dialled = async () => (await twin.calls()).map(({ deployment, resource }) => `${deployment}-${resource}`)
const metric = async (name: string) =>
  (await metrics.render()).text.split('\n').filter((line) => line.startsWith(name) && !line.startsWith('#'))

test('the SDK’s realtime client talks through to the model it named, and what it used is counted', async () => {
  const client = new OpenAI({ apiKey, baseURL: `http://127.0.0.1:${port}/v1` })
  // The SDK always dials wss; its own socket option leads it to a plain port.
  const options = { createConnection: () => connect(port, '127.0.0.1') } as object
  const realtime = new OpenAIRealtimeWS({ model: 'gpt-realtime', options }, client)
  const text = await new Promise<string>((resolve, reject) => {
    let said = ''
    realtime.on('error', reject)
    realtime.on('session.created', () => {
      realtime.send({
        type: 'conversation.item.create',
        item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Where? [answer=Lund]' }] },
      })
      realtime.send({ type: 'response.create', response: { output_modalities: ['text'] } })
    })
    realtime.on('response.output_text.delta', ({ delta }) => (said += delta))
    realtime.on('response.done', () => resolve(said))
  })
  expect(text).toContain('Lund')
  expect(await dialled()).toEqual(['rt-full-swedencentral'])
  const used = await metric('sluice_realtime_tokens_total')
  expect(used.some((line) => line.includes('kind="output"') && !line.endsWith(' 0'))).toBe(true)
  expect(Number((await metric('sluice_realtime_cost_usd_total'))[0]?.split(' ').at(-1))).toBeGreaterThan(0)
  realtime.close()
  await eventually(async () => (await metric('sluice_realtime_sessions'))[0]?.endsWith(' 0'), 'end of the session')
  await eventually(
    async () =>
      (
        await admission.states(
          config.deployments.map((d) => ({ name: d.name, tokensPerMinute: 1, requestsPerMinute: 1 })),
        )
      ).every(({ slotsInUse }) => slotsInUse === 0),
    'slots given back',
  )
  expect(logs.join('\n')).not.toContain('Lund')
})

test('the first session.update names the model, and arrives like everything sent after it', async () => {
  const browser = new Browser('/v1/realtime')
  await browser.opened()
  browser.send({ type: 'session.update', session: { type: 'realtime', model: 'voice', instructions: 'Be brief.' } })
  const updated = await browser.next('session.updated')
  expect((updated.session as { instructions: string }).instructions).toBe('Be brief.')
  expect(await browser.ask('Hello [answer=Hej]')).toMatchObject({ response: { status: 'completed' } })
  expect(await dialled()).toEqual(['rt-full-eastus2'])
})

test.each([
  ['nothing', undefined, 'rt-mini-swedencentral'],
  ['a simple task', 'Say good morning.', 'rt-mini-swedencentral'],
  [
    'a demanding task',
    'Derive and prove each theorem step by step, analyse its complexity, compare the trade-offs of three algorithms and implement:\n```py\ndef f(n):\n```\nJustify each step.',
    'rt-full-swedencentral',
  ],
])('without a model %s gets the right one', async (_, instructions, expected) => {
  await restart({ modelWaitMs: 300 })
  const browser = new Browser('/v1/realtime')
  await browser.opened()
  if (instructions !== undefined) browser.send({ type: 'session.update', session: { type: 'realtime', instructions } })
  await browser.next('session.created')
  expect(await dialled()).toEqual([expected])
})

test('a deployment that is away is passed over before the session opens', async () => {
  await twin.post('faults', { type: 'outage', resource: 'swedencentral' })
  const browser = new Browser('/v1/realtime?model=gpt-realtime')
  await browser.next('session.created')
  expect(await dialled()).toContain('rt-full-eastus2')
})

test('an ephemeral token opens a session of its tenant on the deployment that issued it', async () => {
  const secret = await issueClientSecret({ config, tokens, apiKeyOf, checkBudget }, caller, {
    session: { type: 'realtime', model: 'gpt-realtime-mini', instructions: 'Prepared.' },
  })
  expect(secret).toMatchObject({
    value: expect.stringMatching(/^ek_/) as string,
    sluice: { model: 'gpt-realtime-mini', webrtc_url: 'https://swedencentral.example.com/calls' },
  })
  const browser = new Browser('/v1/realtime', secret.value)
  const created = await browser.next('session.created')
  expect((created.session as { instructions: string }).instructions).toBe('Prepared.')
  const query = new WebSocket(`ws://127.0.0.1:${port}/v1/realtime?key=${secret.value}`)
  sockets.push(query)
  await eventually(() => query.readyState === WebSocket.OPEN, 'a token in the query')
})

test('an API key in the query works only where configuration allows it', async () => {
  expect(await refusal(`/v1/realtime?model=voice&key=${apiKey}`, {})).toMatchObject({
    status: 401,
    code: 'unauthorized',
  })
  await restart({ access: { key_in_query: true } })
  const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/realtime?model=voice&key=${apiKey}`)
  sockets.push(socket)
  await eventually(() => socket.readyState === WebSocket.OPEN, 'an open socket')
})

test.each([
  ['an unknown model', '/v1/realtime?model=nope', {}, 404, 'model_not_found'],
  ['a wrong key', '/v1/realtime?model=voice', { authorization: 'Bearer wrong' }, 401, 'unauthorized'],
  ['another path', '/v1/other', {}, 404, 'not_found'],
  ['a foreign origin', '/v1/realtime?model=voice', { origin: 'https://evil.example' }, 403, 'forbidden'],
])('%s is refused with a reason', async (_, path, headers, status, code) => {
  expect(await refusal(path, { authorization: `Bearer ${apiKey}`, ...headers })).toMatchObject({ status, code })
})

test('when every deployment is full the handshake says when to come back', async () => {
  await twin.post('faults', { type: 'status', status: 429, retry_after_ms: 7_000 })
  const full = await refusal('/v1/realtime?model=gpt-realtime')
  expect(full.status).toBe(429)
  expect(Number(full.retryAfter)).toBeGreaterThan(0)
})

test('a tenant whose budget is spent opens no session and gets no token', async () => {
  spent = true
  expect(await refusal('/v1/realtime?model=voice')).toMatchObject({ status: 429, code: 'budget_exceeded' })
  await expect(issueClientSecret({ config, tokens, apiKeyOf, checkBudget }, caller, {})).rejects.toMatchObject({
    code: 'budget_exceeded',
  })
})

test('an idle session is closed with a reason; one that talks goes on', async () => {
  await restart({ idleMs: 400 })
  const quiet = new Browser('/v1/realtime?model=voice')
  expect(await quiet.closed()).toBe(1000)
  expect(quiet.events.at(-1)).toMatchObject({ type: 'error', error: { code: 'session_idle' } })
})

test('a slow reader pauses its session and still gets every event in order', async () => {
  const browser = new Browser('/v1/realtime?model=gpt-realtime')
  await browser.next('session.created')
  const big = 'x'.repeat(200_000)
  for (let at = 0; at < 60; at++) {
    browser.send({
      type: 'conversation.item.create',
      item: { id: `i${at}`, type: 'message', role: 'user', content: [{ type: 'input_text', text: big }] },
    })
  }
  const added = () =>
    browser.events.filter(({ type }) => type === 'conversation.item.added' || type === 'conversation.item.created')
  await eventually(() => added().length >= 60, 'every item')
  const ids = added().map((event) => (event.item as { id: string }).id)
  expect([...new Set(ids)]).toEqual(Array.from({ length: 60 }, (_, at) => `i${at}`))
})

test('when the provider dies mid-session the client is told, and the slot is free', async () => {
  const browser = new Browser('/v1/realtime?model=gpt-realtime')
  await browser.next('session.created')
  twinDied = true
  await twin.close()
  expect(await browser.closed()).toBe(1011)
})

test('shutting down refuses new sessions and ends open ones with an error event', async () => {
  const browser = new Browser('/v1/realtime?model=gpt-realtime')
  await browser.next('session.created')
  const closing = door.close(200)
  expect(await refusal('/v1/realtime?model=voice')).toMatchObject({ status: 503, code: 'shutting_down' })
  await closing
  expect(await browser.closed()).toBe(1012)
  expect(browser.events.at(-1)).toMatchObject({ type: 'error', error: { code: 'shutting_down' } })
})
