import { createHash, timingSafeEqual } from 'node:crypto'
import { tenantSchema } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import type { RowStore } from '@sluice/storage'
import { z } from 'zod'

const scopes = ['submit', 'read', 'admin'] as const
export type Scope = (typeof scopes)[number]

const keyRow = z.object({
  id: z.string(),
  tenant: tenantSchema,
  hash: z.string(),
  scopes: z.array(z.enum(scopes)),
  disabled: z.boolean().optional(),
})

/** A key in the container `keys`. */
export type KeyRow = z.infer<typeof keyRow>

/** Who calls, as a valid key says. */
export interface Caller {
  tenant: string
  scopes: readonly Scope[]
}

/** How long a key's row is believed before it is read again: a disabled key works for this long at most. */
const cacheMs = 30_000
const cacheSize = 10_000

export interface ApiKeys {
  /** @throws AppError `unauthorized`, or `storage_unavailable` when the keys cannot be read. */
  caller(key: string): Promise<Caller>
  /** Stores a key, hashed; the same key again is the same row. */
  store(key: string, tenant: string, granted: readonly Scope[]): Promise<void>
}

const digest = (key: string): Buffer => createHash('sha256').update(key).digest()

/**
 * API keys in Cosmos. A row is found by a prefix of the key's SHA-256 and believed only when the whole hash agrees,
 * compared in constant time; the key itself is stored nowhere.
 */
export function createApiKeys(keys: RowStore<KeyRow>, clock: Clock): ApiKeys {
  const cache = new Map<string, { row: KeyRow | undefined; until: number }>()

  async function row(id: string): Promise<KeyRow | undefined> {
    const known = cache.get(id)
    if (known !== undefined && known.until > clock.monotonic()) return known.row
    const stored = await keys.read(id, [id])
    const found = stored === undefined ? undefined : keyRow.parse(stored)
    if (cache.size >= cacheSize) cache.delete(cache.keys().next().value ?? '')
    cache.set(id, { row: found, until: clock.monotonic() + cacheMs })
    return found
  }

  return {
    async caller(key) {
      const hash = digest(key)
      const found = await row(hash.toString('hex').slice(0, 16))
      const stored = Buffer.from(found?.hash ?? '', 'hex')
      const same = stored.length === hash.length && timingSafeEqual(stored, hash)
      if (found === undefined || !same || found.disabled === true) {
        throw new AppError('unauthorized', 'Incorrect API key provided.')
      }
      return { tenant: found.tenant, scopes: found.scopes }
    },
    async store(key, tenant, granted) {
      const hash = digest(key).toString('hex')
      await keys.create({ id: hash.slice(0, 16), tenant: tenantSchema.parse(tenant), hash, scopes: [...granted] })
    },
  }
}
