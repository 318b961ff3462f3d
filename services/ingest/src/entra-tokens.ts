import { type AccessConfig, type KeyScope, tenantSchema } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify, type JWTVerifyGetKey } from 'jose'
import type { Caller } from './authenticate.ts'

type EntraConfig = NonNullable<AccessConfig['entra']>

export interface EntraTokens {
  /** @throws AppError `unauthorized`, `forbidden` when the token names no tenant, `storage_unavailable` without keys. */
  caller(token: string): Promise<Caller>
}

// What Entra ID signs with, and its stronger relatives: never `none`, never a shared secret.
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384']
const fetchTimeoutMs = 5_000
/** An unknown key id fetches the keys again, but not more often than this: forged ids must not reach the issuer. */
const usualCooldownMs = 10_000
const keysForMs = 10 * 60_000

/** Whether a credential has the form of a JWT: three parts, the first of which begins as a JSON object does. */
export const looksLikeToken = (credential: string): boolean => /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(credential)

/** Callers by access tokens of Entra ID, verified with the keys that the issuer publishes. */
export function createEntraTokens(config: EntraConfig, cooldownMs = usualCooldownMs): EntraTokens {
  let keys: Promise<JWTVerifyGetKey> | undefined
  const keySet = () => {
    const opening = (keys ??= openKeySet(config, cooldownMs))
    // An issuer that cannot be reached now can be reached later.
    opening.catch(() => (keys = undefined))
    return opening
  }
  return {
    async caller(token) {
      const { payload } = await jwtVerify(token, await keySet(), {
        issuer: config.issuer,
        audience: config.audience,
        clockTolerance: config.clock_skew_seconds,
        algorithms,
        requiredClaims: ['exp'],
      }).catch((error: unknown) => {
        throw refused(error)
      })
      return callerOf(config, payload)
    },
  }
}

async function openKeySet({ issuer, jwks_uri }: EntraConfig, cooldownMs: number): Promise<JWTVerifyGetKey> {
  const uri = jwks_uri ?? (await discover(issuer))
  return createRemoteJWKSet(new URL(uri), {
    timeoutDuration: fetchTimeoutMs,
    cooldownDuration: cooldownMs,
    cacheMaxAge: keysForMs,
  })
}

async function discover(issuer: string): Promise<string> {
  try {
    const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`
    const answer = await fetch(url, { signal: AbortSignal.timeout(fetchTimeoutMs) })
    const { jwks_uri } = (await answer.json()) as { jwks_uri?: unknown }
    if (typeof jwks_uri === 'string') return jwks_uri
    throw new Error('no jwks_uri')
  } catch (cause) {
    throw unreachable(cause)
  }
}

function callerOf({ tenants, scopes }: EntraConfig, payload: JWTPayload): Caller {
  const claims = payload as { azp?: unknown; appid?: unknown; oid?: unknown; groups?: unknown; roles?: unknown }
  const listed = (claim: unknown): string[] =>
    Array.isArray(claim) ? claim.filter((one) => typeof one === 'string') : []
  const names = [claims.azp, claims.appid, ...listed(claims.groups)].filter((one) => typeof one === 'string')
  const name = names.find((one) => Object.hasOwn(tenants, one))
  const tenant = tenantSchema.safeParse(name === undefined ? undefined : tenants[name])
  if (!tenant.success) throw new AppError('forbidden', 'This application acts for no tenant here.')
  const granted = new Set<KeyScope>()
  for (const role of listed(claims.roles)) {
    if (Object.hasOwn(scopes, role)) for (const scope of scopes[role] ?? []) granted.add(scope)
  }
  const subject = [claims.oid, payload.sub, name].find((one) => typeof one === 'string') ?? ''
  return { tenant: tenant.data, scopes: [...granted], platform: false, principal: `entra-${subject}`, limits: {} }
}

function refused(error: unknown): AppError {
  if (error instanceof errors.JWTExpired) return new AppError('unauthorized', 'The token has expired.')
  if (error instanceof errors.JWTClaimValidationFailed) {
    return new AppError('unauthorized', `The token's ${error.claim} is not what this server expects.`)
  }
  // The signature's key set could not be had: nothing is known about the token.
  const away =
    error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid || !(error instanceof errors.JOSEError)
  if (away || error.code === 'ERR_JOSE_GENERIC') return error instanceof AppError ? error : unreachable(error)
  return new AppError('unauthorized', 'The token is not valid.')
}

const unreachable = (cause: unknown) =>
  new AppError('storage_unavailable', "The token issuer's keys cannot be read.", { cause })
