import { createHash, randomBytes } from 'node:crypto'
import { limitsSchema, tenantSchema } from '@sluice/contracts'
import { z } from 'zod'

export const scopes = ['submit', 'read', 'admin'] as const
export type Scope = (typeof scopes)[number]

/** A key in the container `keys`; the key itself is stored nowhere. */
export const keyRowSchema = z.object({
  /** The first 64 bits of the key's SHA-256: what a key is found by. */
  id: z.string(),
  tenant: tenantSchema,
  /** The whole SHA-256: what a key is believed by. */
  hash: z.string(),
  scopes: z.array(z.enum(scopes)),
  /** The same for a key and all that replaced it: limits are counted under this name. */
  lineage: z.string().optional(),
  name: z.string().optional(),
  /** Operates the platform: an admin of every tenant. */
  platform: z.boolean().optional(),
  disabled: z.boolean().optional(),
  limits: limitsSchema.optional(),
  /** RFC 3339. */
  created_at: z.string().optional(),
  /** RFC 3339; absent: never. */
  expires_at: z.string().optional(),
})
export type KeyRow = z.infer<typeof keyRowSchema>

const digest = (key: string): Buffer => createHash('sha256').update(key).digest()

/** What a row knows of its key. */
export function identify(key: string): { id: string; hash: Buffer } {
  const hash = digest(key)
  return { id: hash.toString('hex').slice(0, 16), hash }
}

/** A new key: 256 random bits behind a prefix that secret scanners can look for. */
export const newKey = (): string => `sk-sluice-${randomBytes(32).toString('base64url')}`
