import { hash, randomBytes } from 'node:crypto'
import { z } from 'zod'
import { tenantSchema } from './request-line.ts'
import { limitsSchema } from './tenant-config.ts'

export const keyScopes = ['submit', 'read', 'admin'] as const
/** What a key may do in its tenant; `admin` includes the others. */
export type KeyScope = (typeof keyScopes)[number]

/** A key in the container `keys`; the key itself is stored nowhere. */
export const apiKeyRowSchema = z.object({
  id: z.string().describe("the first 64 bits of the key's SHA-256: what a key is found by"),
  tenant: tenantSchema,
  hash: z.string().describe('the whole SHA-256: what a key is believed by'),
  scopes: z.array(z.enum(keyScopes)),
  lineage: z.string().optional().describe('the same for a key and all that replaced it: its limits are counted by it'),
  name: z.string().optional(),
  platform: z.boolean().optional().describe('operates the platform: an admin of every tenant'),
  disabled: z.boolean().optional(),
  limits: limitsSchema.optional(),
  created_at: z.string().optional(),
  expires_at: z.string().optional().describe('absent: never'),
})
export type ApiKeyRow = z.infer<typeof apiKeyRowSchema>

/** What a row knows of its key: its id, and the hash that the key is compared by. */
export function identifyKey(key: string): { id: string; hash: Buffer } {
  const digest = hash('sha256', key, 'buffer')
  return { id: digest.toString('hex', 0, 8), hash: digest }
}

/** The row of a key that is made now. */
export function apiKeyRow(
  key: string,
  fields: Omit<ApiKeyRow, 'id' | 'hash' | 'created_at'>,
  nowMs: number,
): ApiKeyRow {
  const { id, hash } = identifyKey(key)
  return { id, hash: hash.toString('hex'), lineage: id, ...fields, created_at: new Date(nowMs).toISOString() }
}

/** A new key: 256 random bits behind a prefix that secret scanners can look for. */
export const newApiKey = (): string => `sk-sluice-${randomBytes(32).toString('base64url')}`
