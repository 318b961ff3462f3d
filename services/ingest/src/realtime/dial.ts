import type { Deployment } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { WebSocket } from 'ws'
import type { Handshake } from './handshake.ts'

const handshakeTimeoutMs = 10_000
// The largest event of the protocol is an audio append of 15 MiB, in base64.
export const maxEventBytes = 32 * 1024 * 1024

/**
 * Opens a deployment's realtime WebSocket. Messages wait in it until somebody listens.
 * @param credential the deployment's key, or an ephemeral token of its own
 * @throws AppError of disposition `fail_over` when another deployment may do better; the signal's reason
 */
export async function dial(
  deployment: Deployment,
  credential: { key: string } | { token: string },
  handshake: Pick<Handshake, 'dialect' | 'query' | 'beta'>,
  signal: AbortSignal,
): Promise<WebSocket> {
  signal.throwIfAborted()
  const headers = {
    ...('key' in credential ? { 'api-key': credential.key } : {}),
    authorization: `Bearer ${'key' in credential ? credential.key : credential.token}`,
    ...(handshake.beta === undefined ? {} : { 'openai-beta': handshake.beta }),
  }
  const socket = new WebSocket(addressOf(deployment, handshake), {
    headers,
    handshakeTimeout: handshakeTimeoutMs,
    maxPayload: maxEventBytes,
    perMessageDeflate: false,
    followRedirects: false,
  })
  const abort = () => socket.terminate()
  signal.addEventListener('abort', abort, { once: true })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('open', () => {
        // `session.created` may be in the same packet: it must not be emitted before the relay listens.
        socket.pause()
        resolve()
      })
      socket.once('unexpected-response', (_, response) => {
        response.resume()
        reject(refused(deployment, response.statusCode ?? 0, response.headers['retry-after']))
        socket.terminate()
      })
      socket.on('error', (cause) =>
        reject(new AppError('model_unavailable', `${deployment.name} could not be reached.`, { cause })),
      )
    })
    return socket
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

function addressOf(deployment: Deployment, { dialect, query }: Pick<Handshake, 'dialect' | 'query'>): URL {
  const name = deployment.azure_name ?? deployment.name
  const base = deployment.endpoint.replace(/^http/, 'ws').replace(/\/$/, '')
  const preview = dialect.kind === 'preview'
  const url = new URL(`${preview ? base.replace(/\/v1$/, '') : base}/realtime`)
  for (const [field, value] of query) url.searchParams.append(field, value)
  if (preview) url.searchParams.set('api-version', dialect.apiVersion)
  url.searchParams.set(preview ? 'deployment' : 'model', name)
  return url
}

function refused(deployment: Deployment, status: number, retryAfter: string | undefined): AppError {
  const seconds = Number(retryAfter)
  const wait = Number.isFinite(seconds) && seconds > 0 ? { retryAfterMs: seconds * 1000 } : {}
  if (status === 429) return new AppError('model_rate_limited', `${deployment.name} refused with 429.`, wait)
  if (status === 401 || status === 403) {
    return new AppError('model_unauthorized', `${deployment.name} refused its key.`)
  }
  if (status === 400) return new AppError('model_rejected', `${deployment.name} refused the session.`)
  return new AppError('model_unavailable', `${deployment.name} refused with ${status}.`)
}
