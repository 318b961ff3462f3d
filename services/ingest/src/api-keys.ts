import { timingSafeEqual } from 'node:crypto'
import { type ApiKeyRow, apiKeyRowSchema, identifyKey } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import type { RowStore } from '@sluice/storage'
import type { Redis } from 'ioredis'
import type { Caller } from './authenticate.ts'

/** How long a row is believed when nobody says that it changed: Redis may be away. */
const cacheMs = 10_000
/** A key that was just made elsewhere works after this long at the latest. */
const unknownMs = 2_000
const cacheSize = 10_000
const channel = 'sluice:keys'

export interface ApiKeys {
  /** @throws AppError `unauthorized`, or `storage_unavailable` when the keys cannot be read. */
  caller(key: string): Promise<Caller>
  /** Forgets a row here and in every other ingest, because it changed. Never rejects. */
  changed(id: string): Promise<void>
}

export interface ApiKeysOptions {
  rows: RowStore<ApiKeyRow>
  /** Carries the word that a key changed; the second one is used up by listening. */
  redis: { client: Redis; forSubscriptions(): Redis }
  clock: Clock
}

/**
 * API keys in Cosmos. A row is found by a prefix of the key's SHA-256 and believed only when the whole hash agrees,
 * compared in constant time.
 */
export function createApiKeys({ rows, redis, clock }: ApiKeysOptions): ApiKeys {
  // Apart, so that somebody who guesses keys does not push out the ones that are used.
  const known = new Map<string, { row: ApiKeyRow; until: number }>()
  const unknown = new Map<string, number>()
  /** Counts changes: a read that was under way when one came is not remembered. */
  let changes = 0

  const forget = (id: string) => {
    changes++
    known.delete(id)
    unknown.delete(id)
  }
  const listener = redis.forSubscriptions()
  listener.on('message', (_, id: string) => forget(id))
  // What was said while the connection was away is lost.
  listener.on('ready', () => {
    changes++
    known.clear()
    unknown.clear()
  })
  void listener.subscribe(channel).catch(() => undefined)

  const remember = <V>(map: Map<string, V>, id: string, value: V) => {
    if (map.size >= cacheSize) map.delete(map.keys().next().value ?? '')
    map.set(id, value)
  }

  async function rowOf(id: string): Promise<ApiKeyRow | undefined> {
    const now = clock.monotonic()
    const cached = known.get(id)
    if (cached !== undefined && cached.until > now) return cached.row
    if ((unknown.get(id) ?? 0) > now) return undefined
    const before = changes
    const stored = await rows.read(id, [id])
    const row = stored === undefined ? undefined : apiKeyRowSchema.parse(stored)
    if (changes !== before) return row
    if (row === undefined) remember(unknown, id, now + unknownMs)
    else remember(known, id, { row, until: now + cacheMs })
    return row
  }

  return {
    async caller(key) {
      const { id, hash } = identifyKey(key)
      const row = await rowOf(id)
      const stored = Buffer.from(row?.hash ?? '', 'hex')
      const same = stored.length === hash.length && timingSafeEqual(stored, hash)
      if (row === undefined || !same || row.disabled === true) {
        throw new AppError('unauthorized', 'Incorrect API key provided.')
      }
      if (row.expires_at !== undefined && Date.parse(row.expires_at) <= clock.now()) {
        throw new AppError('unauthorized', 'This API key has expired.')
      }
      return {
        tenant: row.tenant,
        scopes: row.scopes,
        platform: row.platform ?? false,
        principal: `key-${row.lineage ?? row.id}`,
        limits: row.limits ?? {},
      }
    },
    async changed(id) {
      forget(id)
      await redis.client.publish(channel, id).catch(() => undefined)
    },
  }
}
