import { randomUUID } from 'node:crypto'
import type { PlatformConfig } from '@sluice/contracts'
import type { Clock } from '@sluice/resilience'
import type { Parking } from '@sluice/parking'
import type { ServiceContext } from '@sluice/service-kit'
import type { SignalRService } from '@sluice/signalr'
import type { Logger, Metrics } from '@sluice/telemetry'
import Fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import { type AdminDeploymentsDeps, adminDeploymentRoutes } from './admin-deployments.ts'
import { type AdminLanesDeps, adminLaneRoutes } from './admin-lanes.ts'
import { answerError } from './answer-error.ts'
import type { Authenticate } from './authenticate.ts'
import { batchRoutes, type BatchRoutesDeps } from './batches/batch-routes.ts'
import { fileRoutes, type FileRoutesDeps } from './batches/file-routes.ts'
import { type ChatDeps, chatRoutes } from './chat-routes.ts'
import { allowOrigins, type CorsHeaders } from './cors.ts'
import { docsRoutes } from './docs-routes.ts'
import { measureAnswers } from './http-metrics.ts'
import type { KeyAdmin } from './key-admin.ts'
import { keyRoutes } from './key-routes.ts'
import { negotiateRoutes } from './negotiate.ts'
import type { OpenAIDoor } from './openai-door.ts'
import { modelRoutes } from './openai-models.ts'
import { preferRoutes } from './prefer-routes.ts'
import { probeRoutes } from './probe-routes.ts'
import type { ReadDeps } from './read-requests.ts'
import type { ClientSecretDeps } from './realtime/client-secrets.ts'
import { realtimeRoutes } from './realtime/realtime-routes.ts'
import { bodyParsers } from './request-body.ts'
import { requestRoutes } from './request-routes.ts'
import { createRoutes } from './routes.ts'
import { type DeliveryDeps, deliveryRoutes } from './deliveries.ts'
import type { Drain } from './drain.ts'
import type { SubmitDeps } from './enqueue-line.ts'
import { type StoredResponseDeps, storedResponseRoutes } from './stored-response-routes.ts'
import { refuseSlowBodies } from './slow-bodies.ts'
import { signalrGroupRoutes } from './signalr-groups.ts'
import { createUnknownRoute } from './unknown-route.ts'
import { type UsageDeps, usageRoutes } from './usage-routes.ts'
import { createWatchers } from './watchers.ts'
import { type WebhookEndpointDeps, webhookEndpointRoutes } from './webhook-endpoints.ts'

export interface AppDeps
  extends
    SubmitDeps,
    UsageDeps,
    AdminDeploymentsDeps,
    Omit<AdminLanesDeps, 'parking'>,
    ChatDeps,
    FileRoutesDeps,
    BatchRoutesDeps,
    Omit<ReadDeps, 'closing' | 'watchers'>,
    DeliveryDeps,
    StoredResponseDeps,
    WebhookEndpointDeps {
  drain: Drain
  parking: Parking
  door: OpenAIDoor
  realtimeSecrets: ClientSecretDeps
  authenticate: Authenticate
  config: PlatformConfig
  corsHeaders: CorsHeaders
  signalr: SignalRService
  keyAdmin: KeyAdmin
  /** How long a body that is not an upload may take. */
  bodyTimeoutMs: number
  /** The least that an upload brings. */
  uploadBytesPerSecond: number
  /** Event streams and long polls that a tenant may have open. */
  watchersPerTenant: number
  clock: Clock
  logger: Logger
  metrics: Metrics
  /** Answers a probe path such as /health/ready or /metrics. */
  probe: ServiceContext<unknown>['probe']
}

// A slow client loses its connection, not the server's memory. How long a body may take is refuseSlowBodies' to say.
const serverTimeouts = { connectionTimeout: 180_000, requestTimeout: 0, keepAliveTimeout: 72_000 }

/** The HTTP door. Every error leaves in OpenAI's shape. */
export function createApp(deps: AppDeps): FastifyInstance {
  const app = Fastify({
    logger: false,
    serverFactory: (listener) => deps.door.serve(listener, serverTimeouts),
    bodyLimit: deps.bodyLimit,
    genReqId: () => randomUUID(),
    forceCloseConnections: 'idle',
    // A path that the router itself refuses: it does not decode, or a part of it is too long.
    frameworkErrors: (error, request, reply) => void answerError(deps.logger, error, request, reply),
    routerOptions: { maxParamLength: 256 },
  })
  const parsers = bodyParsers(deps.bodies)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', parsers.json)
  app.addContentTypeParser('text/plain', parsers.plain)
  // Many lines are read as they come; a route that does not expect them finds no text.
  app.addContentTypeParser(['application/x-ndjson', 'application/jsonl'], (_, body, done) => done(null, body))
  // Forms are read by their route from the request itself.
  app.addContentTypeParser('multipart/form-data', (_request, _body, done) => done(null))
  app.setErrorHandler((error, request, reply) => answerError(deps.logger, error as FastifyError, request, reply))
  const unknownRoute = createUnknownRoute(() => routes.registered())
  app.setNotFoundHandler((request, reply) => answerError(deps.logger, unknownRoute(request, reply), request, reply))
  app.addHook('onRequest', (request, reply, done) => {
    void reply.header('x-request-id', request.id)
    done()
  })
  measureAnswers(app, deps.metrics)
  allowOrigins(app, deps.corsHeaders)
  deps.drain.watch(app)
  const stop = refuseSlowBodies(app.server, deps, deps.clock)
  app.addHook('onClose', async () => stop())

  const watchers = createWatchers(deps.watchersPerTenant, deps.metrics)
  const reading = { ...deps, watchers, closing: deps.drain.closing }
  // A feature is a file that registers its routes, and a line here.
  const routes = createRoutes(app, deps.authenticate)
  probeRoutes(routes, deps.probe)
  requestRoutes(routes, reading)
  preferRoutes(routes, reading)
  chatRoutes(routes, deps)
  keyRoutes(routes, deps.keyAdmin)
  usageRoutes(routes, deps)
  negotiateRoutes(routes, deps.signalr)
  docsRoutes(routes)
  modelRoutes(routes, deps.config)
  storedResponseRoutes(routes, deps)
  webhookEndpointRoutes(routes, deps)
  deliveryRoutes(routes, deps)
  signalrGroupRoutes(routes, deps.signalr)
  fileRoutes(app, routes, deps)
  batchRoutes(routes, deps)
  realtimeRoutes(routes, deps.realtimeSecrets)
  adminDeploymentRoutes(routes, deps)
  adminLaneRoutes(routes, deps)
  return app
}
