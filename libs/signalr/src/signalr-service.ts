import { AppError } from '@sluice/errors'
import { type Clock, fullJitter, sleep, systemClock, withDeadline } from '@sluice/resilience'
import { Agent, fetch, type RequestInit, type Response } from 'undici'
import { parseConnectionString } from './connection-string.ts'
import { defaultCredential, entraToken, keyToken, type TokenCredential } from './rest-token.ts'

/** The hub that every client of Sluice joins. */
const signalrHub = 'sluice'

interface ClientAccess {
  url: string
  accessToken: string
}

/** Who gets a message: every connection of a user or of a group, or one connection. */
export type Audience = { user: string } | { group: string } | { connection: string }

export interface SignalRService {
  /** What a client's negotiate is answered with; `user` becomes the connection's user id. */
  clientAccess(user: string, ttlMs: number): Promise<ClientAccess>
  /**
   * Invokes `target` with `args`, JSON text of an array, for the audience. Nobody connected is not an error. A service
   * that is not ready is asked again, at its own pace, within the deadline.
   * @throws AppError `delivery_failed` (with retryAfterMs where the service named one), `delivery_refused`,
   * `message_too_large`
   */
  send(audience: Audience, target: string, args: string, signal: AbortSignal): Promise<void>
  /** Puts a user's connections, present and future, into a group, or takes them out. @throws AppError as `send` does */
  changeGroup(change: 'add' | 'remove', user: string, group: string, signal: AbortSignal): Promise<void>
  /** @throws AppError when the service does not answer. */
  ping(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

export interface SignalROptions {
  clock?: Clock
  /** With `AuthType=azure`; Azure's default chain unless given. */
  credential?: TokenCredential
  /** For one message, its retries included. */
  deadlineMs?: number
}

const apiVersion = 'api-version=2022-06-01'
const tokenTtlMs = 300_000
const answerMs = 5_000
const pause = fullJitter({ baseMs: 100, capMs: 2_000 })

/** A user or group of one tenant as SignalR knows it; tenants share none, because a tenant's name holds no bar. */
export const signalrUser = (tenant: string, user: string): string => `${tenant}|${user}`

/** Azure SignalR in serverless mode over its REST data plane (2022-06-01), by access key or Microsoft Entra ID. */
export function connectSignalR(connectionString: string, options: SignalROptions = {}): SignalRService {
  const { clock = systemClock, deadlineMs = 10_000 } = options
  const { endpoint, key } = parseConnectionString(connectionString)
  const agent = new Agent({ connections: 64, headersTimeout: answerMs, bodyTimeout: answerMs })
  const token = key === undefined ? entraToken(options.credential ?? defaultCredential()) : keyToken(key, clock)
  const hub = `${endpoint}/api/hubs/${signalrHub}`

  const once = async (path: string, init: RequestInit, signal: AbortSignal): Promise<Response> => {
    const answer = await fetch(`${path}${path.includes('?') ? '&' : '?'}${apiVersion}`, {
      ...init,
      headers: {
        authorization: `Bearer ${await token(path, tokenTtlMs)}`,
        ...(init.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      dispatcher: agent,
      signal,
    }).catch((cause: unknown) => {
      signal.throwIfAborted()
      throw new AppError('delivery_failed', 'SignalR could not be reached', { cause })
    })
    if (answer.ok) return answer
    await answer.body?.cancel()
    throw refused(answer.status, answer.headers.get('retry-after'))
  }
  const call = (path: string, init: RequestInit, signal: AbortSignal): Promise<Response> => {
    let last = new AppError('delivery_failed', 'SignalR did not answer in time')
    const attempts = async (signal: AbortSignal): Promise<Response> => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await once(path, init, signal)
        } catch (error) {
          if (!(error instanceof AppError) || error.disposition !== 'retry') throw error
          last = error
          await sleep(Math.max(error.retryAfterMs ?? 0, pause(attempt)), { signal, clock })
        }
      }
    }
    return withDeadline(deadlineMs, signal, attempts, () => last, clock)
  }

  return {
    async clientAccess(user, ttlMs) {
      const url = `${endpoint}/client/?hub=${signalrHub}`
      if (key !== undefined) return { url, accessToken: await token(url, ttlMs, { nameid: user }) }
      // Without the key only the service can make a client's token.
      const minutes = Math.max(1, Math.round(ttlMs / 60_000))
      const path = `${hub}/:generateToken?userId=${encodeURIComponent(user)}&minutesToExpire=${minutes}`
      const answer = await call(path, { method: 'POST' }, AbortSignal.timeout(deadlineMs))
      const made = (await answer.json()) as { token: string }
      return { url, accessToken: made.token }
    },

    async send(audience, target, args, signal) {
      const body = `{"target":${JSON.stringify(target)},"arguments":${args}}`
      const answer = await call(`${hub}/${pathOf(audience)}/:send`, { method: 'POST', body }, signal)
      await answer.body?.cancel()
    },

    async changeGroup(change, user, group, signal) {
      const path = `${hub}/users/${encodeURIComponent(user)}/groups/${encodeURIComponent(group)}`
      const answer = await call(path, { method: change === 'add' ? 'PUT' : 'DELETE' }, signal)
      await answer.body?.cancel()
    },

    async ping(signal) {
      const response = await fetch(`${endpoint}/api/health?${apiVersion}`, {
        method: 'HEAD',
        dispatcher: agent,
        signal,
      })
      if (!response.ok) throw new AppError('delivery_failed', `SignalR's health is ${response.status}`)
    },

    close: () => agent.close(),
  }
}

function pathOf(audience: Audience): string {
  if ('user' in audience) return `users/${encodeURIComponent(audience.user)}`
  if ('group' in audience) return `groups/${encodeURIComponent(audience.group)}`
  return `connections/${encodeURIComponent(audience.connection)}`
}

function refused(status: number, retryAfter: string | null): AppError {
  if (status === 413) return new AppError('message_too_large', 'SignalR takes no message of that size')
  if (status !== 429 && status < 500) return new AppError('delivery_refused', `SignalR refused the message (${status})`)
  const seconds = Number(retryAfter)
  return new AppError(
    'delivery_failed',
    `SignalR is not ready (${status})`,
    seconds > 0 ? { retryAfterMs: seconds * 1000 } : {},
  )
}
