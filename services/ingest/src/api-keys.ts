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
  /**
   * @param connection what the key came over: a connection repeats its key, whose hash need not be computed again
   * @throws AppError `unauthorized`, or `storage_unavailable` when the keys cannot be read.
   */
  caller(key: string, connection?: object): Promise<Caller>
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
  const known = new Map<string, { key: StoredKey; until: number }>()
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

  async function read(id: string, now: number): Promise<StoredKey | undefined> {
    if ((unknown.get(id) ?? 0) > now) return undefined
    const before = changes
    const stored = await rows.read(id, [id])
    const key = stored === undefined ? undefined : storedKey(apiKeyRowSchema.parse(stored))
    if (changes !== before) return key
    if (key === undefined) remember(unknown, id, now + unknownMs)
    else remember(known, id, { key, until: now + cacheMs })
    return key
  }

  const cached = (id: string, now: number): StoredKey | undefined => {
    const one = known.get(id)
    return one !== undefined && one.until > now ? one.key : undefined
  }

  // A connection's own key, compared with what the same connection says next: that tells nobody anything about others'.
  const said = new WeakMap<object, { text: string; identity: ReturnType<typeof identifyKey> }>()

  const identify = (text: string, connection: object | undefined): ReturnType<typeof identifyKey> => {
    if (connection === undefined) return identifyKey(text)
    const before = said.get(connection)
    if (before?.text === text) return before.identity
    const identity = identifyKey(text)
    said.set(connection, { text, identity })
    return identity
  }

  return {
    async caller(text, connection) {
      const { id, hash } = identify(text, connection)
      const now = clock.monotonic()
      const key = cached(id, now) ?? (await read(id, now))
      const stored = key?.hash ?? nothing
      const same = stored.length === hash.length && timingSafeEqual(stored, hash)
      if (key === undefined || !same || key.disabled) throw new AppError('unauthorized', 'Incorrect API key provided.')
      if (key.expiresAt <= clock.now()) throw new AppError('unauthorized', 'This API key has expired.')
      return key.caller
    },
    async changed(id) {
      forget(id)
      await redis.client.publish(channel, id).catch(() => undefined)
    },
  }
}

/** A key's row as it is asked for. */
interface StoredKey {
  hash: Buffer
  disabled: boolean
  expiresAt: number
  caller: Caller
}

const nothing = Buffer.alloc(0)

const storedKey = (row: ApiKeyRow): StoredKey => ({
  hash: Buffer.from(row.hash, 'hex'),
  disabled: row.disabled === true,
  expiresAt: row.expires_at === undefined ? Infinity : Date.parse(row.expires_at),
  caller: {
    tenant: row.tenant,
    scopes: row.scopes,
    platform: row.platform ?? false,
    principal: `key-${row.lineage ?? row.id}`,
    limits: row.limits ?? {},
  },
})
