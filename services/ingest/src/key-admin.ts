import {
  apiKeyRow,
  type ApiKeyRow,
  identifyKey,
  keyScopes,
  limitsSchema,
  newApiKey,
  tenantSchema,
} from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import type { RowStore } from '@sluice/storage'
import { z } from 'zod'
import type { ApiKeys } from './api-keys.ts'
import type { Caller } from './authenticate.ts'

const name = z.string().min(1).max(128)
const grantedScopes = z.array(z.enum(keyScopes)).min(1).max(keyScopes.length)
const expiresAt = z.iso.datetime({ offset: true })

/** POST /v1/keys. */
export const createKeySchema = z.strictObject({
  name: name.optional(),
  tenant: tenantSchema.optional().describe("the caller's own unless it operates the platform"),
  scopes: grantedScopes,
  platform: z.boolean().optional().describe('operates the platform: an admin of every tenant'),
  expires_at: expiresAt.optional(),
  limits: limitsSchema.optional(),
})
/** PATCH /v1/keys/{id}: what is absent stays as it is; null takes the expiry away. */
export const updateKeySchema = z
  .strictObject({
    name,
    scopes: grantedScopes,
    expires_at: expiresAt.nullable(),
    disabled: z.boolean(),
    limits: limitsSchema,
  })
  .partial()
/** POST /v1/keys/{id}/rotate. */
export const rotateKeySchema = z.strictObject({
  overlap_seconds: z
    .int()
    .min(0)
    .max(30 * 24 * 3600)
    .default(24 * 3600)
    .describe('for how long the old key works as well'),
})

/** What the API shows of a key; `key` itself only once, when it is made. */
export const keyViewSchema = z.object({
  id: z.string(),
  object: z.literal('sluice.key'),
  tenant: z.string(),
  name: z.string().nullable(),
  scopes: z.array(z.enum(keyScopes)),
  platform: z.boolean(),
  disabled: z.boolean(),
  limits: limitsSchema,
  created_at: z.string().nullable(),
  expires_at: z.string().nullable(),
  key: z.string().optional(),
})
export type KeyView = z.infer<typeof keyViewSchema>

const maxKeysOfATenant = 1_000

export interface KeyAdminDeps {
  rows: RowStore<ApiKeyRow>
  keys: ApiKeys
  clock: Clock
}

/** A tenant's keys, for its admins; every tenant's for who operates the platform. */
export function createKeyAdmin({ rows, keys, clock }: KeyAdminDeps) {
  const found = async (caller: Caller, publicId: string): Promise<ApiKeyRow> => {
    const id = /^key_([0-9a-f]{16})$/.exec(publicId)?.[1]
    const row = id === undefined ? undefined : await rows.read(id, [id])
    // Another tenant's key is as unknown as none; a platform key is not a tenant admin's to touch.
    const visible = row !== undefined && (caller.platform || (row.tenant === caller.tenant && row.platform !== true))
    if (!visible) throw new AppError('not_found', 'No such key.', { param: 'id' })
    return row
  }
  const create = async (key: string, fields: Parameters<typeof apiKeyRow>[1]): Promise<ApiKeyRow | undefined> => {
    const row = apiKeyRow(key, fields, clock.now())
    return (await rows.create(row)) ? row : undefined
  }
  const patch = async (row: ApiKeyRow, fields: Record<string, unknown>): Promise<ApiKeyRow> => {
    const operations = Object.entries(fields).map(([field, value]) =>
      value === null
        ? { op: 'remove' as const, path: `/${field}` }
        : { op: 'set' as const, path: `/${field}`, value: value as never },
    )
    if (operations.length === 0) return row
    const outcome = await rows.patch({ id: row.id, key: [row.id], operations })
    if (outcome.kind !== 'patched') throw new AppError('not_found', 'No such key.', { param: 'id' })
    await keys.changed(row.id)
    return outcome.row
  }

  const list = async (caller: Caller, tenant: string): Promise<KeyView[]> => {
    if (!caller.platform && tenant !== caller.tenant) throw notYours('tenant', 'another tenant')
    const sql = 'SELECT * FROM c WHERE c.tenant = @tenant'
    const stored = await rows.query({ sql, parameters: { tenant }, limit: maxKeysOfATenant + 1 })
    return stored
      .filter((row) => caller.platform || row.platform !== true)
      .map(keyView)
      .toSorted((a, b) => (b.created_at ?? '').localeCompare(a.created_at ?? ''))
  }

  const checkRoom = async (caller: Caller, tenant: string): Promise<void> => {
    if ((await list(caller, tenant)).length < maxKeysOfATenant) return
    throw new AppError('conflict', `A tenant may have ${maxKeysOfATenant} keys.`)
  }

  return {
    /**
     * Stores a key that its operator chose, so that there is one to begin with. What was done to it since, such as
     * disabling it, stays; only that it operates the platform is made sure of.
     */
    async first(key: string, tenant: string): Promise<void> {
      const made = await create(key, { tenant: tenantSchema.parse(tenant), scopes: ['admin'], platform: true })
      if (made !== undefined) return
      const { id } = identifyKey(key)
      await rows.patch({ id, key: [id], operations: [{ op: 'set', path: '/platform', value: true }] })
    },
    async create(caller: Caller, input: z.infer<typeof createKeySchema>): Promise<KeyView> {
      const { tenant = caller.tenant, platform = false, ...fields } = input
      if (!caller.platform && tenant !== caller.tenant) throw notYours('tenant', 'another tenant')
      if (!caller.platform && platform) throw notYours('platform', 'the platform')
      await checkRoom(caller, tenant)
      const key = newApiKey()
      const row = await create(key, { tenant, ...(platform ? { platform } : {}), ...defined(fields) } as never)
      if (row === undefined) throw new AppError('internal', 'two random keys were the same')
      await keys.changed(row.id)
      return { ...keyView(row), key }
    },
    list,
    get: async (caller: Caller, id: string): Promise<KeyView> => keyView(await found(caller, id)),
    update: async (caller: Caller, id: string, input: z.infer<typeof updateKeySchema>): Promise<KeyView> => {
      const row = await found(caller, id)
      const { expires_at, ...fields } = input
      // Cosmos refuses to remove what is not there.
      const expiry = expires_at === null && row.expires_at === undefined ? {} : { expires_at }
      return keyView(await patch(row, defined({ ...fields, ...expiry })))
    },
    async remove(caller: Caller, id: string): Promise<void> {
      const row = await found(caller, id)
      await rows.remove(row.id, [row.id])
      await keys.changed(row.id)
    },
    /** A new key with everything of the old one, which works for the overlap and no longer. */
    async rotate(caller: Caller, id: string, overlapSeconds: number): Promise<KeyView> {
      const old = await found(caller, id)
      if (old.disabled === true) throw new AppError('conflict', 'A disabled key is not rotated.', { param: 'id' })
      await checkRoom(caller, old.tenant)
      // The expiry is kept too: a rotation does not make a key last longer than whoever made it wanted.
      const { id: _, hash: _hash, created_at: _made, ...kept } = old
      const key = newApiKey()
      const row = await create(key, { ...kept, lineage: old.lineage ?? old.id })
      if (row === undefined) throw new AppError('internal', 'two random keys were the same')
      await keys.changed(row.id)
      const ends = Math.min(clock.now() + overlapSeconds * 1000, Date.parse(old.expires_at ?? '') || Infinity)
      await patch(old, { expires_at: new Date(ends).toISOString() })
      return { ...keyView(row), key }
    },
  }
}
export type KeyAdmin = ReturnType<typeof createKeyAdmin>

const notYours = (param: string, what: string) =>
  new AppError('forbidden', `${param}: only who operates the platform may name ${what}`, { param })

const defined = (fields: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

const keyView = (row: ApiKeyRow): KeyView => ({
  id: `key_${row.id}`,
  object: 'sluice.key',
  tenant: row.tenant,
  name: row.name ?? null,
  scopes: row.scopes,
  platform: row.platform ?? false,
  disabled: row.disabled ?? false,
  limits: row.limits ?? {},
  created_at: row.created_at ?? null,
  expires_at: row.expires_at ?? null,
})
