import { createHash } from 'node:crypto'
import { limitsSchema } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Redis } from 'ioredis'
import { z } from 'zod'

const stored = z.object({
  tenant: z.string(),
  principal: z.string(),
  limits: limitsSchema,
  deployment: z.string(),
})
/** Whose session a token opens, and where: a provider's token is good for the deployment that issued it alone. */
export type TokenOwner = z.infer<typeof stored>

/** Ephemeral realtime tokens that deployments issued through Sluice. Redis holds their hashes until they expire. */
export interface EphemeralTokens {
  remember(token: string, owner: TokenOwner, expiresAtMs: number): Promise<void>
  /** @returns undefined for what is no such token, or has expired */
  ownerOf(token: string): Promise<TokenOwner | undefined>
}

const prefix = 'sluice:realtime-token:'

export function createEphemeralTokens(redis: Pick<Redis, 'set' | 'get'>): EphemeralTokens {
  const keyOf = (token: string) => prefix + createHash('sha256').update(token).digest('hex')
  const unavailable = (cause: unknown) => new AppError('storage_unavailable', 'Redis does not answer.', { cause })
  return {
    async remember(token, owner, expiresAtMs) {
      await redis.set(keyOf(token), JSON.stringify(owner), 'PXAT', Math.ceil(expiresAtMs)).catch((cause: unknown) => {
        throw unavailable(cause)
      })
    },
    async ownerOf(token) {
      const found = await redis.get(keyOf(token)).catch((cause: unknown) => {
        throw unavailable(cause)
      })
      return found === null ? undefined : stored.parse(JSON.parse(found))
    },
  }
}
