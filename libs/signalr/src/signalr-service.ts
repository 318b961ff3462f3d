import { AppError } from '@sluice/errors'
import { SignJWT } from 'jose'
import { Agent, fetch } from 'undici'

/** The hub that every client of Sluice joins. */
const signalrHub = 'sluice'

interface ClientAccess {
  url: string
  accessToken: string
}

export interface SignalRService {
  /** What a client's negotiate is answered with; `user` becomes the connection's user id. */
  clientAccess(user: string, ttlMs: number): Promise<ClientAccess>
  /**
   * Invokes `target` with `args` on every connection of the user. Nobody connected is not an error.
   * @throws AppError `delivery_failed` (with retryAfterMs where the service named one) or `delivery_refused`.
   */
  sendToUser(user: string, target: string, args: unknown[], signal: AbortSignal): Promise<void>
  /** @throws AppError when the service does not answer. */
  ping(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

/** A user of one tenant as SignalR knows it; tenants never share a user, because a tenant's name holds no bar. */
export const signalrUser = (tenant: string, user: string): string => `${tenant}|${user}`

/**
 * Azure SignalR in serverless mode over its REST data plane (2022-06-01), authenticated by the access key.
 * @param connectionString `Endpoint=https://…;AccessKey=…;Version=1.0;` with an optional `Port`.
 */
export function connectSignalR(connectionString: string, clock: { now(): number } = Date): SignalRService {
  const { endpoint, key } = parseConnectionString(connectionString)
  const agent = new Agent({ connections: 16, headersTimeout: 10_000, bodyTimeout: 10_000 })
  const secret = new TextEncoder().encode(key)

  const token = (audience: string, ttlMs: number, claims: Record<string, unknown> = {}) => {
    const now = Math.floor(clock.now() / 1000)
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setAudience(audience)
      .setIssuedAt(now)
      .setExpirationTime(now + Math.ceil(ttlMs / 1000))
      .sign(secret)
  }

  return {
    async clientAccess(user, ttlMs) {
      const audience = `${endpoint}/client/?hub=${signalrHub}`
      return { url: audience, accessToken: await token(audience, ttlMs, { nameid: user }) }
    },

    async sendToUser(user, target, args, signal) {
      const path = `${endpoint}/api/hubs/${signalrHub}/users/${encodeURIComponent(user)}/:send`
      const response = await fetch(`${path}?api-version=2022-06-01`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await token(path, 60_000)}`, 'content-type': 'application/json' },
        body: JSON.stringify({ target, arguments: args }),
        dispatcher: agent,
        signal,
      }).catch((cause: unknown) => {
        throw new AppError('delivery_failed', 'SignalR could not be reached', { cause })
      })
      await response.body?.cancel()
      if (!response.ok) throw refused(response.status, response.headers.get('retry-after'))
    },

    async ping(signal) {
      const response = await fetch(`${endpoint}/api/health?api-version=2022-06-01`, {
        method: 'HEAD',
        dispatcher: agent,
        signal,
      })
      if (!response.ok) throw new AppError('delivery_failed', `SignalR's health is ${response.status}`)
    },

    close: () => agent.close(),
  }
}

function refused(status: number, retryAfter: string | null): AppError {
  if (status !== 429 && status < 500) return new AppError('delivery_refused', `SignalR refused the message (${status})`)
  const seconds = Number(retryAfter)
  return new AppError(
    'delivery_failed',
    `SignalR is not ready (${status})`,
    seconds > 0 ? { retryAfterMs: seconds * 1000 } : {},
  )
}

function parseConnectionString(text: string): { endpoint: string; key: string } {
  const parts = new Map(
    text.split(';').map((part) => {
      const at = part.indexOf('=')
      return [part.slice(0, at).trim().toLowerCase(), part.slice(at + 1).trim()]
    }),
  )
  const endpoint = parts.get('endpoint')?.replace(/\/$/, '')
  const key = parts.get('accesskey')
  const port = parts.get('port')
  if (!endpoint || !key) throw new AppError('internal', 'SIGNALR_CONNECTION_STRING needs Endpoint and AccessKey')
  return { endpoint: port ? `${endpoint}:${port}` : endpoint, key }
}
