import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { TenantShare } from '@sluice/admission'
import type { PlatformConfig } from '@sluice/contracts'
import { type AppError, toAppError } from '@sluice/errors'
import type { Forwarder, ForwardReport } from '@sluice/execution'
import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import type { Authenticate, Caller } from './authenticate.ts'
import type { Drain } from './drain.ts'
import type { HeldBodies, HeldBody } from './held-bodies.ts'
import { sessionOf } from './openai-affinity.ts'
import { type OpenAIBody, readBytes, readJsonCall } from './openai-body.ts'
import { readFormCall } from './openai-form.ts'
import { createDoorMetrics, type DoorMetrics } from './openai-metrics.ts'
import { sluiceOptions } from './openai-options.ts'
import { type OpenAIPath, openAIPath } from './openai-path.ts'
import { OpenAISink } from './openai-sink.ts'

export interface OpenAIDoorDeps {
  config: PlatformConfig
  authenticate: Authenticate
  forwarder: Forwarder
  drain: Drain
  /** The limits of a caller's tenant and key. */
  sharesOf: (caller: Caller) => readonly TenantShare[]
  /** Headers, names and values in turn, that let a browser of that origin read the answer. */
  corsHeaders: (origin: string | undefined) => readonly string[]
  logger: Logger
  metrics: Parameters<typeof createDoorMetrics>[0]
  clock: Clock
  /** Bytes of a JSON body. */
  bodyLimit: number
  /** Bytes of a multipart body. */
  formLimit: number
  bodies: HeldBodies
}

/** Milliseconds, by the names that Fastify has for them. */
interface ServerTimeouts {
  /** Without a byte in either direction. */
  connectionTimeout: number
  /** From a request's first byte to its last. */
  requestTimeout: number
  keepAliveTimeout: number
}

/** The synchronous, OpenAI-compatible door. */
export interface OpenAIDoor {
  /** @returns whether the request is this door's; everything else is somebody else's to answer */
  handle(request: IncomingMessage, response: ServerResponse): boolean
  /** A server that asks this door first and `listener` for the rest. */
  serve(listener: RequestListener, timeouts: ServerTimeouts): Server
}

/**
 * Stands in front of the framework, whose hooks, schemas and reply objects cost as much as the forwarding itself. What
 * asks to be queued (`Prefer: respond-async`) is not this door's.
 */
export function createOpenAIDoor(deps: OpenAIDoorDeps): OpenAIDoor {
  const metrics = createDoorMetrics(deps.metrics)
  const { bodies } = deps
  metrics.held(() => bodies.bytes)
  const busy = new WeakSet<Socket>()
  deps.drain.closing.addEventListener('abort', () => deps.forwarder.interrupt(), { once: true })

  const handle = (request: IncomingMessage, response: ServerResponse): boolean => {
    if (request.method !== 'POST') return false
    const path = openAIPath(request.url ?? '')
    if (path === undefined || asksForQueue(request)) return false
    const { socket } = request
    busy.add(socket)
    response.on('close', () => busy.delete(socket))
    answer(deps, metrics, path, request, response).catch((err: unknown) => {
      deps.logger.error({ err, url: path.url }, 'the door failed')
      response.destroy()
    })
    return true
  }

  return {
    handle,
    serve(listener, { connectionTimeout, requestTimeout, keepAliveTimeout }) {
      // A request that is late is noticed when connections are looked at, by default only twice a minute.
      const connectionsCheckingInterval = Math.min(5_000, Math.ceil(requestTimeout / 4))
      const server = createServer({ connectionsCheckingInterval, requestTimeout }, (request, response) => {
        if (!handle(request, response)) listener(request, response)
      })
      server.keepAliveTimeout = keepAliveTimeout
      server.setTimeout(connectionTimeout)
      // The idle limit of connections is not for those that wait for a model: their calls have limits of their own.
      server.on('timeout', (socket) => {
        if (!busy.has(socket)) socket.destroy()
      })
      return server
    },
  }
}

const asksForQueue = ({ headers }: IncomingMessage): boolean =>
  headers.prefer !== undefined && /(?:^|[,;\s])respond-async(?:$|[,;\s])/i.test(String(headers.prefer))

async function answer(
  deps: OpenAIDoorDeps,
  metrics: DoorMetrics,
  path: OpenAIPath,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { clock } = deps
  const startedAt = clock.monotonic()
  const requestId = randomUUID()
  const sink = new OpenAISink(request, response, [
    'x-request-id',
    requestId,
    ...deps.corsHeaders(request.headers.origin),
  ])
  let held: HeldBody | undefined
  let tenant: string | undefined
  let report: ForwardReport | undefined
  let error: AppError | undefined
  try {
    deps.drain.enter(response)
    const caller = await deps.authenticate(request, 'submit')
    tenant = caller.tenant
    held = deps.bodies.open(tenant)
    const call = await readCall(deps, path, request, held)
    const options = sluiceOptions(request.headers, call.sluice, tenant)
    report = await deps.forwarder.forward(
      {
        requestId,
        tenant,
        url: path.url,
        body: call.body,
        payload: call.payload,
        options,
        shares: deps.sharesOf(caller),
        traceparent: traceparentOf(request),
        conversation: path.affinity ? sessionOf(request.headers, call.body, options) : options?.conversation,
      },
      sink,
    )
    error = report.error
  } catch (thrown) {
    error = toAppError(thrown)
    await sink.refuse(error)
  } finally {
    held?.free()
  }
  const ms = clock.monotonic() - startedAt
  const outcome = report?.outcome ?? 'refused'
  metrics.ended(path.url, outcome, sink.status, ms)
  // One literal: every call of a busy door makes one, and fields without a value are left out of the line.
  const fields = {
    requestId,
    tenant,
    url: path.url,
    outcome,
    status: sink.status,
    ms: Math.round(ms * 10) / 10,
    deployment: report?.deployment?.name,
    score: report?.score,
    attempts: report?.attempts.length,
    inputTokens: report?.usage?.input_tokens,
    outputTokens: report?.usage?.output_tokens,
    costUsd: report?.costUsd,
    waitedMs: report === undefined ? undefined : Math.round(report.waitedMs),
    code: error?.code,
  }
  if (error !== undefined && error.status >= 500) deps.logger.error({ ...fields, err: error }, 'not answered')
  else deps.logger.info(fields, 'answered')
}

async function readCall(
  deps: OpenAIDoorDeps,
  path: OpenAIPath,
  request: IncomingMessage,
  held: HeldBody,
): Promise<OpenAIBody> {
  if (path.url === '/v1/audio/transcriptions') return readFormCall(request, deps.formLimit, path.model, held)
  return readJsonCall(request, await readBytes(request, deps.bodyLimit, held), path.url, path.model)
}

function traceparentOf({ headers }: IncomingMessage): string | undefined {
  const { traceparent } = headers
  return typeof traceparent === 'string' ? traceparent : undefined
}
