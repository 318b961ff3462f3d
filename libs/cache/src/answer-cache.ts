import { type CacheConfig, contentHash } from '@sluice/contracts'
import type { Clock } from '@sluice/resilience'
import type { Cosmos } from '@sluice/storage'
import type { Logger, Metrics } from '@sluice/telemetry'
import { type CacheAsk, exactKey, semanticAsk } from './cache-key.ts'
import { type CachedAnswer, type CacheRow, isCacheable, packAnswer, unpackAnswer } from './cached-answer.ts'
import { SimilarEntries } from './similar-entries.ts'
import { packVector, unitVector } from './unit-vector.ts'

export type CacheMode = 'exact' | 'semantic'

export interface CacheHit {
  answer: CachedAnswer
  /** 1 for an exact hit. */
  similarity: number
}

/** Answers to requests asked before, each tenant's apart from every other's. */
export interface AnswerCache {
  /** Answers of sound beyond it are not stored. */
  readonly maxSoundBytes: number
  /** Never throws but for the signal: a cache that cannot be read is a miss. */
  lookup(ask: CacheAsk, mode: CacheMode, signal?: AbortSignal): Promise<CacheHit | undefined>
  /** Keeps an answer in the background when it is fit to be given again. */
  store(ask: CacheAsk, mode: CacheMode, answer: CachedAnswer): void
  /** Waits for what is being stored. */
  close(): Promise<void>
}

export interface AnswerCacheOptions {
  cosmos: Cosmos
  config: CacheConfig
  /** The embedding of a text, on the tenant's account; absent: `semantic` works like `exact`. */
  embed?: ((text: string, tenant: string, signal: AbortSignal) => Promise<ArrayLike<number>>) | undefined
  clock: Clock
  logger: Logger
  metrics: Metrics
}

// A lookup stands in the way of every request that asked for it; a slow one is worth less than a call.
const lookupDeadlineMs = 1_500
const storeDeadlineMs = 10_000
// An answer not kept costs one call; memory for all of them costs the worker.
const storesAtOnce = 64
// What an entry takes besides its answer's bytes.
const rowFrameBytes = 1_024

export function createAnswerCache(options: AnswerCacheOptions): AnswerCache {
  const { config, clock, logger, embed } = options
  const rows = options.cosmos.rows<CacheRow>('cache')
  const similar = new SimilarEntries(rows, clock)
  const lookups = options.metrics.counter({
    name: 'sluice_cache_lookups_total',
    help: 'Lookups in the answer cache, by mode and outcome: hit, miss or error',
    labels: ['mode', 'outcome'],
  })
  const saved = options.metrics.counter({
    name: 'sluice_cache_saved_usd_total',
    help: 'What the answers that the cache gave cost when they were made, in US dollars',
    labels: ['mode'],
  })
  const storing = new Set<Promise<void>>()

  const vectorOf = async (text: string, tenant: string, signal: AbortSignal) =>
    embed === undefined ? undefined : unitVector(await embed(text, tenant, signal))

  const find = async (ask: CacheAsk, mode: CacheMode, signal: AbortSignal): Promise<CacheHit | undefined> => {
    const id = exactKey(ask)
    const row = await rows.read(id, [ask.tenant, id], signal)
    if (row !== undefined) return { answer: unpackAnswer(row.answer), similarity: 1 }
    const prompt = mode === 'semantic' && embed !== undefined ? semanticAsk(ask) : undefined
    if (prompt === undefined) return undefined
    const vector = await vectorOf(prompt.text, ask.tenant, signal)
    const near = vector && (await similar.nearest(ask.tenant, prompt.group, vector, config.threshold, signal))
    if (near === undefined) return undefined
    const similarRow = await rows.read(near.id, [ask.tenant, near.id], signal)
    return similarRow && { answer: unpackAnswer(similarRow.answer), similarity: near.similarity }
  }

  const keep = async (ask: CacheAsk, mode: CacheMode, answer: CachedAnswer): Promise<void> => {
    const signal = AbortSignal.timeout(storeDeadlineMs)
    const packed = packAnswer(answer)
    if (Buffer.byteLength(JSON.stringify(packed)) > config.max_entry_bytes) return
    const common = { tenant: ask.tenant, answer: packed, created_at: new Date(clock.now()).toISOString() }
    await rows.create({ ...common, id: exactKey(ask), ttl: config.exact_ttl_seconds }, signal)
    const prompt = mode === 'semantic' && embed !== undefined ? semanticAsk(ask) : undefined
    if (prompt === undefined) return
    const vector = await vectorOf(prompt.text, ask.tenant, signal)
    if (vector === undefined) return
    const id = `s_${contentHash(prompt)}`
    const row = { ...common, id, group: prompt.group, vector: packVector(vector), ttl: config.semantic_ttl_seconds }
    await rows.create(row, signal)
    similar.add(row)
  }

  return {
    // In a row they are base64.
    maxSoundBytes: Math.floor((config.max_entry_bytes - rowFrameBytes) * 0.75),

    async lookup(ask, mode, signal) {
      const timeout = AbortSignal.timeout(lookupDeadlineMs)
      try {
        const hit = await find(ask, mode, signal === undefined ? timeout : AbortSignal.any([signal, timeout]))
        lookups.inc({ mode, outcome: hit === undefined ? 'miss' : 'hit' })
        if (hit !== undefined) saved.inc({ mode }, hit.answer.cost_usd)
        return hit
      } catch (err) {
        signal?.throwIfAborted()
        lookups.inc({ mode, outcome: 'error' })
        logger.warn({ err, tenant: ask.tenant }, 'the answer cache could not be read')
        return undefined
      }
    },

    store(ask, mode, answer) {
      if (!isCacheable(answer) || storing.size >= storesAtOnce) return
      const done = keep(ask, mode, answer)
        .catch((err: unknown) => logger.warn({ err, tenant: ask.tenant }, 'an answer could not be cached'))
        .finally(() => storing.delete(done))
      storing.add(done)
    },

    async close() {
      await Promise.all(storing)
    },
  }
}
