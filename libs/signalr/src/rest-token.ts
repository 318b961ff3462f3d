import { AppError } from '@sluice/errors'
import { SignJWT } from 'jose'

/** The part of an Azure credential that is used here. */
export interface TokenCredential {
  getToken(scope: string, options?: { abortSignal?: AbortSignal }): Promise<{ token: string } | null>
}

/** What stands behind `Authorization: Bearer` of a call. */
export type RestToken = (audience: string, ttlMs: number, claims?: Record<string, unknown>) => Promise<string>

const entraScope = 'https://signalr.azure.com/.default'
/** A token is used again until it has less than this part of its life left. */
const freshPart = 0.5

/** A JWT per audience, signed with the access key. */
export function keyToken(key: string, clock: { now(): number }): RestToken {
  const secret = new TextEncoder().encode(key)
  const sign = (audience: string, ttlMs: number, claims: Record<string, unknown>) => {
    const now = Math.floor(clock.now() / 1000)
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setAudience(audience)
      .setIssuedAt(now)
      .setExpirationTime(now + Math.ceil(ttlMs / 1000))
      .sign(secret)
  }
  const known = new Map<string, { token: string; untilMs: number }>()
  return async (audience, ttlMs, claims) => {
    if (claims !== undefined) return sign(audience, ttlMs, claims)
    const held = known.get(audience)
    if (held !== undefined && held.untilMs > clock.now()) return held.token
    const token = await sign(audience, ttlMs, {})
    if (known.size >= 1000) known.delete(known.keys().next().value ?? '')
    known.set(audience, { token, untilMs: clock.now() + ttlMs * freshPart })
    return token
  }
}

/** The machine's own identity. The package takes long to load and is not needed with an access key. */
export function defaultCredential(): TokenCredential {
  let chain: Promise<TokenCredential> | undefined
  return {
    async getToken(scope, options) {
      chain ??= import('@azure/identity').then(({ DefaultAzureCredential }) => new DefaultAzureCredential())
      return (await chain).getToken(scope, options)
    },
  }
}

/** A token of Microsoft Entra ID; the credential keeps and renews it. */
export const entraToken =
  (credential: TokenCredential): RestToken =>
  async () => {
    const answer = await credential.getToken(entraScope, { abortSignal: AbortSignal.timeout(10_000) })
    if (answer === null) throw new AppError('delivery_failed', 'Microsoft Entra ID gave no token for SignalR')
    return answer.token
  }
