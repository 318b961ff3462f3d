import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import type { BudgetCheck, TenantShare } from '@sluice/admission'
import type { PlatformConfig } from '@sluice/contracts'
import { AppError, openAIErrorBody, toAppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Authenticate, Caller } from '../authenticate.ts'
import { chooseDeployments } from './choose-deployments.ts'
import { maxEventBytes } from './dial.ts'
import type { EphemeralTokens } from './ephemeral-tokens.ts'
import { firstUpdate } from './first-update.ts'
import { type Handshake, readHandshake } from './handshake.ts'
import { openUpstream, type Upstream, type UpstreamDeps } from './open-upstream.ts'
import { type Frame, sendError } from './relay.ts'
import type { SessionLog } from './session-log.ts'

export interface RealtimeDeps extends UpstreamDeps {
  config: PlatformConfig
  authenticate: Authenticate
  tokens: EphemeralTokens
  checkBudget: BudgetCheck
  sharesOf: (caller: Caller) => readonly TenantShare[]
  sessions: SessionLog
  clock: Clock
  logger: Logger
  /** How long a client that named no model has for its first `session.update`. */
  modelWaitMs: number
}

export interface RealtimeDoor {
  /** Refuses new sessions, lets open ones go on for `graceMs`, then ends them with an error event. */
  close(graceMs: number): Promise<void>
}

/** Who opens a session; an ephemeral token also says where. */
interface Opener {
  caller: Caller
  deployment?: string
  token?: string
}

const dialDeadlineMs = 20_000

/** Serves realtime WebSockets on an HTTP server. Everything wrong with a handshake is an HTTP answer in OpenAI's shape. */
export function openRealtimeDoor(server: Server, deps: RealtimeDeps): RealtimeDoor {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: maxEventBytes,
    perMessageDeflate: false,
    handleProtocols: (protocols) => (protocols.has('realtime') ? 'realtime' : false),
  })
  let closing = false

  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy())
    serve(request, socket, head).catch((thrown: unknown) => {
      const error = toAppError(thrown)
      if (error.status >= 500) deps.logger.warn({ err: error }, 'a realtime session could not be opened')
      refuse(socket, error)
    })
  })

  async function serve(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const handshake = readHandshake(request)
    if (handshake === undefined) throw new AppError('not_found', 'No WebSocket is served here.')
    if (closing) throw new AppError('shutting_down', 'The server is shutting down.', { retryAfterMs: 1000 })
    checkOrigin(deps.config, handshake.origin)
    const opener = await openerOf(deps, request, handshake)
    await deps.checkBudget(opener.caller.tenant)
    const gone = new AbortController()
    socket.once('close', () => gone.abort(new AppError('cancelled', 'The client left.')))
    const accept = () =>
      new Promise<WebSocket>((resolve) => sockets.handleUpgrade(request, socket, head, (client) => resolve(client)))

    if (opener.deployment !== undefined || handshake.model !== undefined) {
      const upstream = await dialFor(deps, opener, handshake, { model: handshake.model }, gone.signal)
      const client = await accept()
      deps.sessions.begin({ client, upstream, tenant: opener.caller.tenant, held: [] })
      return
    }
    // Without a model the session has to be opened before it is known where it leads; what fails is an error event.
    const client = await accept()
    await openLate(deps, client, opener, handshake, gone.signal)
  }

  return {
    async close(graceMs) {
      closing = true
      await deps.sessions.close(graceMs)
      sockets.close()
    },
  }
}

async function openLate(
  deps: RealtimeDeps,
  client: WebSocket,
  opener: Opener,
  handshake: Handshake,
  signal: AbortSignal,
): Promise<void> {
  const first = await firstUpdate(client, deps.modelWaitMs, deps.clock)
  if (first === undefined) return client.terminate()
  let upstream: Upstream
  try {
    upstream = await dialFor(deps, opener, handshake, first.wish, signal)
  } catch (thrown) {
    const error = toAppError(thrown)
    sendError(client, openAIErrorBody(error).error)
    client.close(error.status >= 500 || error.status === 429 ? 1013 : 1008, error.code)
    client.resume()
    return
  }
  deps.sessions.begin({
    client,
    upstream,
    tenant: opener.caller.tenant,
    held: first.take().map((frame) => withoutModel(frame)),
  })
}

/** The model was chosen with the address, and the provider would refuse a name that is only known here. */
function withoutModel(frame: Frame): Frame {
  if (frame.isBinary || !frame.data.includes('"model"')) return frame
  try {
    const event = JSON.parse(frame.data.toString('utf8')) as { type?: unknown; session?: Record<string, unknown> }
    if (event.type !== 'session.update' || event.session === undefined) return frame
    const { model: _, ...session } = event.session
    return { data: Buffer.from(JSON.stringify({ ...event, session })), isBinary: false }
  } catch {
    return frame
  }
}

function dialFor(
  deps: RealtimeDeps,
  opener: Opener,
  handshake: Handshake,
  wish: Parameters<typeof chooseDeployments>[1],
  signal: AbortSignal,
): Promise<Upstream> {
  const candidates = chooseDeployments(
    deps.config,
    opener.deployment === undefined ? wish : { model: opener.deployment },
  )
  return openUpstream(
    deps,
    opener.deployment === undefined ? candidates : candidates.filter(({ name }) => name === opener.deployment),
    handshake,
    { shares: deps.sharesOf(opener.caller), token: opener.token },
    AbortSignal.any([signal, AbortSignal.timeout(dialDeadlineMs)]),
  )
}

async function openerOf(deps: RealtimeDeps, request: IncomingMessage, handshake: Handshake): Promise<Opener> {
  const { credential, keyInQuery } = handshake
  const token = credential ?? keyInQuery
  const owner = token?.startsWith('ek_') === true ? await deps.tokens.ownerOf(token) : undefined
  if (owner !== undefined && token !== undefined) {
    const { deployment, ...who } = owner
    return { caller: { ...who, scopes: ['submit'], platform: false }, deployment, token }
  }
  // An API key in a URL ends up in logs and histories, so an operator has to ask for it.
  const key = credential ?? (deps.config.access.key_in_query ? keyInQuery : undefined)
  const headers = key === undefined ? request.headers : { ...request.headers, authorization: `Bearer ${key}` }
  return { caller: await deps.authenticate({ headers }, 'submit') }
}

/** Browsers send their page's origin; nobody else does. */
function checkOrigin({ access }: PlatformConfig, origin: string | undefined): void {
  if (origin === undefined || access.cors_origins.includes('*') || access.cors_origins.includes(origin)) return
  throw new AppError('forbidden', 'This origin may not open sessions.', { param: 'Origin' })
}

function refuse(socket: Duplex, error: AppError): void {
  if (socket.destroyed) return
  const body = JSON.stringify(openAIErrorBody(error))
  const wait =
    error.retryAfterMs === undefined ? '' : `retry-after: ${Math.max(1, Math.ceil(error.retryAfterMs / 1000))}\r\n`
  socket.end(
    `HTTP/1.1 ${error.status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${wait}connection: close\r\n\r\n${body}`,
  )
}
