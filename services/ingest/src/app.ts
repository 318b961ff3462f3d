import { randomUUID } from 'node:crypto'
import { AppError, openAIErrorBody, toAppError } from '@sluice/errors'
import type { Logger } from '@sluice/telemetry'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { ServiceContext } from '@sluice/service-kit'
import type { SignalRService } from '@sluice/signalr'
import type { ApiKeys, Caller, Scope } from './api-keys.ts'
import { authenticate } from './authenticate.ts'
import { discardBody } from './discard-body.ts'
import { negotiate } from './negotiate.ts'
import { cancelRequest, getRequest, listDeliveries, type ReadDeps } from './read-requests.ts'
import { type SubmitDeps, submitRequest } from './submit-request.ts'

export interface AppDeps extends SubmitDeps, ReadDeps {
  keys: ApiKeys
  signalr: SignalRService
  logger: Logger
  /** Answers a probe path such as /health/ready or /metrics. */
  probe: ServiceContext<unknown>['probe']
}

/** The HTTP door. Every error leaves in OpenAI's shape. */
export function createApp(deps: AppDeps): FastifyInstance {
  const app = Fastify({
    logger: false,
    bodyLimit: deps.bodyLimit,
    genReqId: () => randomUUID(),
    // A slow client loses its connection, not the server's memory.
    connectionTimeout: 60_000,
    requestTimeout: 30_000,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 256 },
  })
  // Bodies are kept as text: the line's own decoder checks them and names the field at fault.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_, body, done) => done(null, body))
  app.addContentTypeParser('text/plain', { parseAs: 'string' }, (request, body, done) =>
    // @microsoft/signalr negotiates with an empty text/plain body.
    body === '' || request.routeOptions.url === '/negotiate' ? done(null, '') : done(unsupported(), undefined),
  )
  app.setErrorHandler((error, request, reply) => answerError(deps.logger, error as FastifyError, request, reply))
  app.setNotFoundHandler((request, reply) =>
    answerError(
      deps.logger,
      new AppError('not_found', `Unknown route: ${request.method} ${request.url.split('?', 1)[0]}`),
      request,
      reply,
    ),
  )
  app.addHook('onSend', async (request, reply) => {
    reply.header('x-request-id', request.id)
  })

  const guarded =
    (scope: Scope, handle: (caller: Caller, request: FastifyRequest, reply: FastifyReply) => Promise<unknown>) =>
    async (request: FastifyRequest, reply: FastifyReply) =>
      handle(await authenticate(deps.keys, request, scope), request, reply)

  app.post(
    '/v1/requests',
    guarded('submit', (caller, request, reply) => submitRequest(deps, caller, request, reply).then(() => reply)),
  )
  app.get(
    '/v1/requests/:id',
    guarded('read', (caller, request) => getRequest(deps, caller, request)),
  )
  app.delete(
    '/v1/requests/:id',
    guarded('submit', (caller, request) => cancelRequest(deps, caller, request)),
  )
  app.get(
    '/v1/requests/:id/deliveries',
    guarded('read', (caller, request) => listDeliveries(deps, caller, request)),
  )
  app.post(
    '/negotiate',
    guarded('read', (caller, request) => negotiate(deps.signalr, caller, request)),
  )
  for (const path of ['/health', '/health/live', '/health/ready', '/health/startup', '/metrics']) {
    app.get(path, async (_, reply) => {
      const answer = await deps.probe(path === '/health' ? '/health/ready' : path)
      if (answer === undefined) throw new AppError('not_found', 'No such probe.')
      const { status, contentType, text } = answer
      return reply.code(status).header('content-type', contentType).header('cache-control', 'no-store').send(text)
    })
  }
  return app
}

const unsupported = () => new AppError('unsupported_media_type', 'Send application/json.', { param: 'Content-Type' })

async function answerError(
  logger: Logger,
  thrown: FastifyError | AppError,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const error = thrown instanceof AppError ? thrown : fromFastify(thrown)
  if (error.status >= 500)
    logger.error({ err: error, route: request.routeOptions.url, httpId: request.id }, 'request failed')
  if (error.retryAfterMs !== undefined || error.status === 503) {
    void reply.header('retry-after', String(Math.max(1, Math.ceil((error.retryAfterMs ?? 1000) / 1000))))
  }
  if (error.code === 'message_too_large') await discardBody(request.raw)
  if (error.code === 'unauthorized') void reply.header('www-authenticate', 'Bearer')
  await reply.code(error.status).send(openAIErrorBody(error))
}

function fromFastify(error: FastifyError): AppError {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new AppError('message_too_large', 'The body is larger than this server takes.', { param: 'body' })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return unsupported()
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return new AppError('invalid_json', error.message, { cause: error })
    default:
      return error.statusCode !== undefined && error.statusCode < 500
        ? new AppError('invalid_line', error.message, { cause: error, status: error.statusCode })
        : toAppError(error)
  }
}
