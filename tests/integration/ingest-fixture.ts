import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PlatformConfig } from '@sluice/contracts'
import { startEmulators, SupervisedProcess } from '@sluice/emulator-host'
import { createLedger, type Ledger, type Row } from '@sluice/ledger'
import { createProgress, type Progress } from '@sluice/progress'
import { systemClock } from '@sluice/resilience'
import { loadPlatformConfig } from '@sluice/service-kit'
import { connectBlobs, connectCosmos, connectRedis, type Cosmos, type RedisConnections } from '@sluice/storage'
import { createLogger, createMetrics } from '@sluice/telemetry'
import { provision } from '../../stack/src/provision.ts'
import { serviceProcess } from '../../stack/src/service-specs.ts'
import { twinConfig } from '../../stack/src/twin-config.ts'

export const platformKey = 'first-key-of-the-platform'
const twinKey = 'key-of-the-twin'

interface Answer {
  body: unknown
  /** Of a body that is not JSON. */
  contentType?: string
  deltas?: unknown[]
  silent?: boolean
}

export interface DoorFixture {
  url: string
  /** Calls ingest; `key` null sends none. */
  api(path: string, init?: RequestInit & { key?: string | null; json?: unknown }): Promise<Response>
  /** Another ingest on the same stores. */
  another(env?: Record<string, string>): Promise<{ url: string; process: SupervisedProcess }>
  process: SupervisedProcess
  /** What every ingest has logged so far. */
  logs: string[]
  /** Plays the worker: no other service runs. */
  ledger: Ledger
  progress: Progress
  cosmos: Cosmos
  redis: RedisConnections
  connections: Record<string, string>
  /** What an ingest is configured with. */
  env: Record<string, string>
  controls: Record<string, string>
  /** Ends a request as a worker does, deltas included; `silent`: as one whose words to Redis are lost. */
  finish(tenant: string, id: string, answer: Answer): Promise<Row>
  stop(): Promise<void>
}

/** The real ingest as a process over every stand-in, and the test in the place of the workers. */
export async function startDoor(
  options: { env?: Record<string, string>; platform?: (config: PlatformConfig) => PlatformConfig } = {},
): Promise<DoorFixture> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-door-'))
  const logs: string[] = []
  const report = (event: { name: string; line?: string }) => {
    if (event.name.startsWith('ingest') && event.line !== undefined) logs.push(event.line)
  }
  const substitutes = { AZURE_OPENAI_API_KEY: twinKey, SLUICE_WEBHOOK_SECRET: `whsec_${'a'.repeat(32)}` }
  const read = (twinUrl: string) =>
    loadPlatformConfig('config/sluice.yaml', { ...substitutes, OPENAI_TWIN_URL: twinUrl })
  const twinFile = join(folder, 'twin.json')
  writeFileSync(twinFile, JSON.stringify(twinConfig(read('http://127.0.0.1:1'), twinKey)))
  const emulators = await startEmulators({
    serviceBusConfig: 'config/service-bus.json',
    openaiConfig: twinFile,
    all: true,
    report,
  })
  const { connections, controls } = emulators
  const open: SupervisedProcess[] = []
  const closing: (() => Promise<unknown>)[] = []
  const stop = async () => {
    await Promise.all(open.map((one) => one.stop()))
    await Promise.all(closing.map((close) => close()))
    await emulators.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await provision(connections)
    const platform = read(connections.OPENAI_TWIN_URL ?? '')
    const configFile = join(folder, 'sluice.json')
    writeFileSync(configFile, JSON.stringify(options.platform?.(platform) ?? platform))
    const env = {
      ...connections,
      ...substitutes,
      SLUICE_CONFIG: configFile,
      PROXY_API_KEY: platformKey,
      PORT: '0',
      DRAIN_MS: '10000',
      ...options.env,
    }
    const another = async (more: Record<string, string> = {}) => {
      const process = new SupervisedProcess(serviceProcess('ingest', { ...env, ...more }), report)
      open.push(process)
      const { port } = await process.start()
      return { url: `http://127.0.0.1:${String(port)}`, process }
    }
    const { url, process } = await another()

    const [logger, metrics] = [createLogger({ service: 'test', level: 'silent' }), createMetrics('test')]
    const cosmos = connectCosmos({
      endpoint: connections.COSMOS_ENDPOINT ?? '',
      key: connections.COSMOS_KEY,
      database: 'sluice',
    })
    const blobs = connectBlobs({
      connectionString: connections.AZURE_STORAGE_CONNECTION_STRING ?? '',
      container: 'sluice',
    })
    const ledger = createLedger({ cosmos, blobs, clock: systemClock, logger, metrics, owner: 'test' })
    const redis = connectRedis(connections.REDIS_URL ?? '', { logger })
    const progress = createProgress({ redis, clock: systemClock, logger, metrics })
    closing.push(
      () => ledger.close().then(() => cosmos.close()),
      () => progress.close().then(() => redis.close()),
    )

    return {
      ...{ url, process, another, logs, ledger, progress, cosmos, redis, connections, controls, env, stop },
      api: (path, { key = platformKey, json, ...init } = {}) =>
        fetch(`${url}${path}`, {
          signal: AbortSignal.timeout(25_000),
          ...init,
          ...(json === undefined ? {} : { method: init.method ?? 'POST', body: JSON.stringify(json) }),
          headers: {
            ...(json === undefined ? {} : { 'content-type': 'application/json' }),
            ...(key === null ? {} : { authorization: `Bearer ${key}` }),
            ...(init.headers as Record<string, string> | undefined),
          },
        }),
      async finish(tenant, id, { body, contentType, deltas = [], silent = false }) {
        const row = await ledger.get(tenant, id)
        if (row?.line.url === undefined) throw new Error(`${id} is not stored`)
        const line = { ...row.line, url: row.line.url, ...(row.body === undefined ? {} : { body: row.body }) }
        const { lane, key, accepted_at } = row
        const claimed = await ledger.claim({
          ...{ tenant, key, lane, line, via: 'http' as const },
          expectExisting: true,
          enqueuedAt: Date.parse(accepted_at),
        })
        if (claimed.kind !== 'claimed') throw new Error(`${id} is ${claimed.kind}`)
        if (!silent) progress.publish(tenant, id, { kind: 'started', attempt: 1 })
        for (const [index, chunk] of deltas.entries()) progress.publish(tenant, id, { kind: 'delta', index, chunk })
        const type = contentType === undefined ? {} : { content_type: contentType }
        const response = { status_code: 200, request_id: 'chatcmpl-1', body, ...type }
        const finished = await ledger.finish(claimed.claim, { status: 'succeeded', response })
        if (!silent) progress.publish(tenant, id, { kind: 'finished', status: 'succeeded' })
        return finished
      },
      stop,
    }
  } catch (error) {
    console.error(logs.join('\n'))
    await stop()
    throw error
  }
}

/** The events of an SSE answer, as they come. Ends with the answer, or when the caller stops iterating. */
export async function* sseEvents(
  response: Response,
): AsyncGenerator<{ id: string | undefined; event: string; data: Record<string, unknown> }> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true })
    const blocks = text.split('\n\n')
    text = blocks.pop() ?? ''
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1]
      const event = field('event')
      if (event !== undefined) yield { id: field('id'), event, data: JSON.parse(field('data') ?? '{}') as never }
    }
  }
}

/** A line that asks for a short chat answer. */
export const chatLine = (customId: string, sluice: object = {}, body: object = {}) => ({
  custom_id: customId,
  method: 'POST' as const,
  url: '/v1/chat/completions' as const,
  body: { model: 'auto', messages: [{ role: 'user', content: 'hi' }], ...body },
  sluice,
})
