import { type Batches, type Batching, createBatches, createBatching, createFiles, type Files } from '@sluice/batch'
import { type BatchEvent, type BatchObject, type PlatformConfig, platformConfigSchema } from '@sluice/contracts'
import type { TwinConfigInput } from '@sluice/emulator-openai'
import { createLedger, createOutbox, type Ledger } from '@sluice/ledger'
import type { OutgoingMessage } from '@sluice/messaging'
import { ManualClock } from '@sluice/resilience'
import type { Blobs, Cosmos } from '@sluice/storage'
import { createLogger, createMetrics, type Metrics } from '@sluice/telemetry'
import { type ModelTwin, startModelTwin } from './model-twin.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'
import { type StandIns, startStorage } from './storage-stand-ins.ts'

const regions = ['swedencentral', 'eastus2', 'westeurope'] as const
const tenant = 'contoso'
const logger = createLogger({ service: 'test', level: 'silent' })

/** Stand-ins that the tests of one file share. */
export interface BatchStores {
  storage: StandIns
  redis: PrivateRedis
  twin: ModelTwin
  stop(): Promise<void>
}

const twinConfig: TwinConfigInput = {
  resources: regions.map((name) => ({
    name,
    region: name,
    deployments: [
      { name: 'mini', model: 'gpt-4.1-mini' },
      {
        name: 'mini-batch',
        model: 'gpt-4.1-mini',
        kind: 'batch',
        enqueued_tokens: 100_000,
        batch: { validate_ms: 1_000, lines_per_minute: 60, finalize_ms: 1_000, cancel_ms: 1_000 },
      },
      { name: 'large-batch', model: 'gpt-4.1', kind: 'batch', enqueued_tokens: 100_000 },
    ],
  })),
}

export async function startBatchStores(): Promise<BatchStores> {
  const [storage, redis, twin] = await Promise.all([
    startStorage(),
    startPrivateRedis(),
    startModelTwin({ config: twinConfig }),
  ])
  // Time moves only when a test moves it.
  await twin.post('clock', { rate: 0 })
  return {
    storage,
    redis,
    twin,
    stop: async () => {
      await Promise.all([storage.stop(), redis.close(), twin.close()])
    },
  }
}

/** Batches of one database, with any number of workers, in a time that Sluice and the twin share. */
export class BatchFixture {
  readonly clock = new ManualClock(Date.UTC(2026, 0, 1))
  readonly metrics: Metrics = createMetrics('test')
  readonly published: OutgoingMessage[] = []
  /** Lines that went to their lane. */
  readonly sent: OutgoingMessage[] = []
  readonly stores: BatchStores
  readonly platform: PlatformConfig
  readonly blobs: Blobs
  readonly ledger: Ledger
  readonly files: Files
  readonly batches: Batches
  readonly cosmos: Cosmos
  readonly #workers: Batching[] = []
  /** What BullMQ would know. */
  readonly #timers = new Map<string, { ref: { tenant: string; batch: string; id: string }; atMs: number }>()

  private constructor(stores: BatchStores, cosmos: Cosmos, batch: object) {
    this.stores = stores
    this.cosmos = cosmos
    this.blobs = stores.storage.blobs
    this.platform = platformOn(stores.twin.url, batch)
    const { clock, blobs, metrics, platform } = this
    this.ledger = createLedger({ cosmos, blobs, clock, logger, metrics, owner: 'test' })
    const doors = { cosmos, blobs, redis: stores.redis.client, platform, clock }
    this.files = createFiles(doors)
    this.batches = createBatches(doors)
  }

  static async over(stores: BatchStores, batch: object = {}): Promise<BatchFixture> {
    await stores.redis.client.flushall()
    await stores.twin.reset()
    return new BatchFixture(stores, await stores.storage.database(), batch)
  }

  /** @param cosmos its own way to the rows, for a worker that dies */
  worker(cosmos: Cosmos = this.cosmos): Batching {
    const { clock, blobs, metrics, platform, ledger } = this
    const outbox = createOutbox({ topic: { send: async (message) => void this.published.push(message) }, ledger })
    const worker = createBatching({
      ...{ cosmos, blobs, redis: this.stores.redis.client, ledger, outbox, platform, clock, logger, metrics },
      topic: { send: async (message) => void this.published.push(message) },
      lanes: new Map([['requests-bulk', { send: async (message) => void this.sent.push(message) }]]),
      bulkLane: 'requests-bulk',
      owner: `worker-${this.#workers.length}`,
    })
    this.#workers.push(worker)
    return worker
  }

  async upload(lines: readonly (string | object)[], options: { sticky?: boolean } = {}) {
    const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n')
    return this.files.upload(tenant, bytesOf(text), { purpose: 'batch', filename: 'in.jsonl', ...options })
  }

  submit(fileId: string, over: object = {}): Promise<BatchObject> {
    return this.batches.submit(tenant, {
      input_file_id: fileId,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      ...over,
    })
  }

  /** Lets workers do what is due, and time pass when nothing is, until the batch is as `until` says. */
  async drive(
    worker: Batching,
    id: string,
    until: (batch: BatchObject) => boolean | Promise<boolean> = isOver,
    stepMs = 2_000,
  ): Promise<BatchObject> {
    for (let round = 0; round < 2_000; round++) {
      const batch = await this.batches.get(tenant, id)
      const { total, completed, failed } = batch.request_counts
      if (completed + failed > total) throw new Error(`counts do not add up: ${JSON.stringify(batch.request_counts)}`)
      if (await until(batch)) return batch
      await this.round(worker, stepMs)
    }
    throw new Error(`${id} stayed ${JSON.stringify(await this.batches.get(tenant, id))}`)
  }

  /** Everything that is due, by its row or by its timer, or else some time. */
  async round(worker: Batching, stepMs = 2_000): Promise<void> {
    const due = new Map((await worker.runner.due(100)).map((ref) => [ref.id, ref]))
    for (const [id, { ref, atMs }] of this.#timers) if (atMs <= this.clock.now()) due.set(id, ref)
    for (const [id, ref] of due) {
      this.#timers.delete(id)
      const afterMs = await worker.runner.advance(ref, new AbortController().signal)
      if (afterMs !== undefined) this.#timers.set(id, { ref, atMs: this.clock.now() + afterMs })
    }
    if (due.size === 0) await this.pass(stepMs)
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms)
    await this.stores.twin.post('clock', { advanceMs: ms })
  }

  /** Every regional batch that was created, by region. */
  async regionalBatches(): Promise<{ region: string; id: string; status: string }[]> {
    const found = regions.map(async (region) => {
      const answer = await fetch(`${this.stores.twin.url}/r/${region}/openai/v1/batches?limit=100`, {
        headers: { 'api-key': `twin-key-${region}` },
      })
      const { data } = (await answer.json()) as { data: { id: string; status: string }[] }
      return data.map(({ id, status }) => ({ region, id, status }))
    })
    return (await Promise.all(found)).flat()
  }

  async lines(fileId: string | null | undefined): Promise<{ custom_id: string; [field: string]: unknown }[]> {
    if (fileId === null || fileId === undefined) return []
    const { stream } = await this.files.content(tenant, fileId)
    const chunks: Uint8Array[] = []
    for await (const chunk of stream) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString('utf8').trimEnd()
    return text === '' ? [] : text.split('\n').map((line) => JSON.parse(line) as { custom_id: string })
  }

  events(): BatchEvent[] {
    return this.published.filter(({ properties }) => properties?.kind === 'batch').map(({ body }) => body as BatchEvent)
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()))
    await this.ledger.close()
  }
}

export const isOver = ({ status }: BatchObject): boolean =>
  ['completed', 'failed', 'expired', 'cancelled'].includes(status)

export const batchLine = (customId: string, content = `What is ${customId}?`, over: object = {}) => ({
  custom_id: customId,
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'gpt-4.1-mini', messages: [{ role: 'user', content: `${content} [tokens=8]` }] },
  ...over,
})

export async function* bytesOf(text: string | Uint8Array, chunk = 1_000): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += chunk) yield bytes.subarray(at, at + chunk)
}

function platformOn(url: string, batch: object): PlatformConfig {
  return platformConfigSchema.parse({
    version: 1,
    routing: { thresholds: { medium: 0.2, large: 0.5 } },
    deployments: regions.flatMap((region) => [
      {
        name: `mini-${region}`,
        azure_name: 'mini',
        tier: 'medium',
        model: 'gpt-4.1-mini',
        batch: { enqueued_tokens: 100_000, azure_name: 'mini-batch' },
        price: { input: 0.4, output: 1.6 },
        ...on(url, region),
      },
      {
        name: `large-${region}`,
        azure_name: 'large',
        tier: 'large',
        model: 'gpt-4.1',
        batch: { enqueued_tokens: 100_000, azure_name: 'large-batch' },
        price: { input: 2, output: 8 },
        ...on(url, region),
      },
    ]),
    lanes: { 'requests-bulk': { priority: 'bulk', tenants: '*', share: 1 } },
    batches: { tenants: '*', default_tenant: tenant },
    batch: { part_lines: 10, poll_ms: 2_000, max_poll_ms: 8_000, region_lost_after_ms: 30_000, ...batch },
    tenants: { [tenant]: {}, fabrikam: {} },
  })
}

const on = (url: string, region: string) => ({
  region,
  endpoint: `${url}/r/${region}/openai/v1`,
  api_key: `twin-key-${region}`,
  quota: { tokens_per_minute: 1_000_000, requests_per_minute: 60_000 },
})
