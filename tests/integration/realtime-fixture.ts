import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Admission, assumeIdle, createAdmission } from '@sluice/admission'
import { type Deployment, type PlatformConfig, platformConfigSchema } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { systemClock } from '@sluice/resilience'
import { createLogger, createMetrics, type Metrics } from '@sluice/telemetry'
import { afterEach, beforeEach } from 'vitest'
import type { Caller } from '../../services/ingest/src/authenticate.ts'
import { createEphemeralTokens } from '../../services/ingest/src/realtime/ephemeral-tokens.ts'
import { openRealtimeDoor, type RealtimeDoor } from '../../services/ingest/src/realtime/realtime-door.ts'
import { createSessionLog } from '../../services/ingest/src/realtime/session-log.ts'
import { deploymentOn, type ModelTwin, startModelTwin } from './model-twin.ts'
import { startPrivateRedis } from './private-redis.ts'

type Event = Record<string, unknown> & { type: string }

export const apiKey = 'sk-realtime-test'
export const caller: Caller = { tenant: 'contoso', scopes: ['submit'], platform: false, principal: 'key_1', limits: {} }
const regions = ['swedencentral', 'eastus2']
const apiKeyOf = ({ api_key }: Deployment) => api_key ?? ''

/** A realtime door over two regions with two models each, anew for every test of a file. */
export function useRealtimeDoor(): RealtimeBench {
  const bench = new RealtimeBench()
  beforeEach(() => bench.open())
  afterEach(() => bench.close())
  return bench
}

class RealtimeBench {
  twin!: ModelTwin
  redis!: Awaited<ReturnType<typeof startPrivateRedis>>
  admission!: Admission
  metrics!: Metrics
  config!: PlatformConfig
  server!: Server
  door!: RealtimeDoor
  port = 0
  tokens!: ReturnType<typeof createEphemeralTokens>
  sockets: WebSocket[] = []
  logs: string[] = []
  /** The test has ended the twin itself. */
  twinDied = false
  /** The tenant's budget is. */
  spent = false

  readonly #checkBudget = async (tenant: string) => {
    if (this.spent)
      throw new AppError('budget_exceeded', `The budget of ${tenant} is used up.`, { retryAfterMs: 5_000 })
  }

  /** What issuing a token takes. */
  get secrets() {
    return { config: this.config, tokens: this.tokens, apiKeyOf, checkBudget: this.#checkBudget }
  }

  async open(): Promise<void> {
    const realtime = (name: string) => ({
      name,
      model: name === 'rt-full' ? 'gpt-realtime' : 'gpt-realtime-mini',
      ability: 1,
    })
    ;[this.twin, this.redis] = await Promise.all([
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
    this.sockets = []
    this.logs = []
    this.twinDied = false
    this.spent = false
    await this.start()
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.close()
    await this.#stop()
    await Promise.all([this.twinDied ? undefined : this.twin.close(), this.redis.close()])
  }

  async start(options: { idleMs?: number; modelWaitMs?: number; access?: object } = {}): Promise<void> {
    const at = (name: string, resource: string, model: string, tier: 'medium' | 'large') =>
      deploymentOn(this.twin, `${name}-${resource}`, {
        azure_name: name,
        resource,
        model,
        tier,
        urls: ['/v1/realtime'],
        webrtc_url: `https://${resource}.example.com/calls`,
      })
    this.config = platformConfigSchema.parse({
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
    const logger = createLogger({ service: 'test', destination: { write: (line) => void this.logs.push(line) } })
    this.metrics = createMetrics('test')
    await assumeIdle(this.redis.client)
    this.admission = createAdmission({ redis: this.redis.client, clock: systemClock, logger })
    this.tokens = createEphemeralTokens(this.redis.client)
    const sessions = createSessionLog({
      config: this.config,
      clock: systemClock,
      logger,
      metrics: this.metrics,
      idleMs: options.idleMs ?? 60_000,
    })
    this.server = createServer()
    this.door = openRealtimeDoor(this.server, {
      config: this.config,
      admission: this.admission,
      apiKeyOf,
      tokens: this.tokens,
      sessions,
      authenticate: async ({ headers }) => {
        const key = /^Bearer (.*)$/.exec(headers.authorization ?? '')?.[1] ?? headers['api-key']
        if (key !== apiKey) throw new AppError('unauthorized', 'Incorrect API key provided.')
        return caller
      },
      sharesOf: () => [],
      checkBudget: this.#checkBudget,
      clock: systemClock,
      logger,
      modelWaitMs: options.modelWaitMs ?? 10_000,
    })
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    this.port = (this.server.address() as AddressInfo).port
  }

  async #stop(): Promise<void> {
    await this.door.close(0)
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
    this.admission.close()
  }

  async restart(options: Parameters<RealtimeBench['start']>[0]): Promise<void> {
    await this.#stop()
    await this.start(options)
  }

  browser(path: string, key = apiKey): Browser {
    const browser = new Browser(`ws://127.0.0.1:${this.port}${path}`, key)
    this.sockets.push(browser.socket)
    return browser
  }

  /** How a handshake is refused. */
  refusal(path: string, headers: Record<string, string> = { authorization: `Bearer ${apiKey}` }) {
    const upgrade = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    }
    return new Promise<{ status: number | undefined; code: string; retryAfter: string | undefined }>(
      (resolve, reject) => {
        const call = request(`http://127.0.0.1:${this.port}${path}`, { headers: { ...headers, ...upgrade } })
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

  /** The deployments that were dialled, in their order. */
  async dialled(): Promise<string[]> {
    return (await this.twin.calls()).map(({ deployment, resource }) => `${deployment}-${resource}`)
  }

  /** The lines of a metric. */
  async metric(name: string): Promise<string[]> {
    const { text } = await this.metrics.render()
    return text.split('\n').filter((line) => line.startsWith(name) && !line.startsWith('#'))
  }
}

/** A client with what browsers have: no headers, only sub-protocols. */
class Browser {
  readonly events: Event[] = []
  readonly socket: WebSocket
  code: number | undefined

  constructor(url: string, key: string) {
    this.socket = new WebSocket(url, ['realtime', `openai-insecure-api-key.${key}`])
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

export async function eventually<T>(
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
