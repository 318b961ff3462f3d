import { errors, jwtVerify } from 'jose'
import type { JWTPayload } from 'jose'

/** A request without a valid token. The description goes into the WWW-Authenticate header as ASP.NET Core words it. */
export class UnauthorizedError extends Error {
  override readonly name = 'UnauthorizedError'
  readonly challenge: string

  constructor(description?: string) {
    super(description ?? 'The request carries no access token.')
    this.challenge = description ? `Bearer error="invalid_token", error_description="${description}"` : 'Bearer'
  }
}

const cacheSize = 2_000

export type AccessTokens = ReturnType<typeof createAccessTokens>

/**
 * Verifies HS256 tokens signed with the access key. The audience has to be the URL of the request without its query (for
 * clients: with or without `?hub=`). Its port may be missing: Microsoft's SDKs build audiences without one.
 */
export function createAccessTokens(accessKey: string, port: () => number, now: () => number) {
  const key = new TextEncoder().encode(accessKey)
  const verified = new Map<string, JWTPayload>()

  const verifySignature = async (token: string): Promise<JWTPayload> => {
    const known = verified.get(token)
    if (known) return known
    const { payload } = await jwtVerify(token, key, {
      algorithms: ['HS256'],
      requiredClaims: ['aud', 'exp'],
      currentDate: new Date(now()),
    }).catch((error: unknown) => {
      throw new UnauthorizedError(describe(error))
    })
    if (verified.size >= cacheSize) verified.delete(verified.keys().next().value as string)
    verified.set(token, payload)
    return payload
  }

  const isOwnHost = (url: URL, host: string | undefined): boolean => {
    const requested = host === undefined ? undefined : URL.parse(`http://${host}`)
    const names = ['localhost', '127.0.0.1', '[::1]', requested?.hostname]
    const ports = ['', String(port()), requested?.port]
    return names.includes(url.hostname) && ports.includes(url.port)
  }

  const isAudience = (audience: string, target: { host: string | undefined; path: string; hub?: string }): boolean => {
    const url = URL.parse(audience)
    if (!url || !isOwnHost(url, target.host) || decodePath(url.pathname) !== decodePath(target.path)) return false
    const hub = target.hub === undefined ? null : url.searchParams.get('hub')
    return hub === null || hub.toLowerCase() === target.hub?.toLowerCase()
  }

  return {
    /** The claims of the token. `hub` is given for a client's request. Throws UnauthorizedError. */
    async verify(
      token: string | undefined,
      target: { host: string | undefined; path: string; hub?: string },
    ): Promise<JWTPayload> {
      if (!token) throw new UnauthorizedError()
      const payload = await verifySignature(token)
      const seconds = now() / 1000
      // The cached verification says nothing about the time since.
      if ((payload.exp ?? 0) <= seconds)
        throw new UnauthorizedError(`The token expired at '${new Date((payload.exp ?? 0) * 1000).toISOString()}'`)
      const audiences = Array.isArray(payload.aud) ? payload.aud : [payload.aud ?? '']
      if (audiences.some((audience) => isAudience(audience, target))) return payload
      throw new UnauthorizedError('The audience is invalid')
    },
  }
}

const decodePath = (path: string): string | undefined => {
  try {
    return decodeURIComponent(path).replace(/\/$/, '')
  } catch {
    return undefined
  }
}

function describe(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'The token is expired'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'The signature is invalid'
  if (error instanceof errors.JOSEAlgNotAllowed) return 'The signature key was not found'
  if (error instanceof errors.JWTClaimValidationFailed) {
    return error.claim === 'exp'
      ? 'The token has no expiration'
      : error.claim === 'aud'
        ? 'The audience is invalid'
        : 'The token is not valid yet'
  }
  return 'The token is malformed'
}

/**
 * The user of a client token: `nameid`, its long form, or the claim that Microsoft's SDKs write when they are told a user id.
 * https://learn.microsoft.com/azure/azure-signalr/signalr-reference-data-plane-rest-api#user-related-rest-api
 */
export function userOf(claims: JWTPayload): string | undefined {
  const names = ['asrs.s.uid', 'nameid', 'http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier']
  for (const name of names) {
    const value = claims[name]
    if (typeof value === 'string' && value !== '') return value
  }
  return undefined
}
