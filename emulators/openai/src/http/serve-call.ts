import type { IncomingMessage, ServerResponse } from 'node:http'
import { AzureError, deploymentNotFound, resourceNotFound, serviceError, unauthorized } from './azure-error.ts'
import { serveSpeech } from '../audio/serve-speech.ts'
import { serveTranscription } from '../audio/serve-transcription.ts'
import { serveBatches } from '../batches/serve-batches.ts'
import type { Deployment } from '../quotas/deployment.ts'
import { Exchange } from './exchange.ts'
import { serveFiles } from '../files/serve-files.ts'
import { listOf, objectOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { serveClientSecrets } from '../realtime/client-secrets.ts'
import { readJson } from './request-body.ts'
import { missing } from './request-fields.ts'
import { operationOf, parseRoute } from './route.ts'
import type { Route } from './route.ts'
import { serveChat } from '../inference/serve-chat.ts'
import { serveCompletions } from '../inference/serve-completions.ts'
import { serveEmbeddings } from '../inference/serve-embeddings.ts'
import { serveModels } from '../inference/serve-models.ts'
import { serveResponses, serveStoredResponse } from '../inference/serve-responses.ts'
import type { Resource, Twin } from '../twin.ts'

/** Writes an error for a call that has no exchange, because no resource or operation could be found. */
function refuse(res: ServerResponse, error: AzureError): void {
  const body = JSON.stringify(error.body)
  res.writeHead(error.status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...error.headers,
  })
  res.end(body)
}

/** The key of a call, from api-key or Authorization: Bearer. */
export function keyOf(req: IncomingMessage): string | undefined {
  const key = req.headers['api-key']
  if (typeof key === 'string') return key
  const authorization = req.headers.authorization
  return authorization !== undefined && /^bearer /i.test(authorization) ? authorization.slice(7).trim() : undefined
}

export function findResource(twin: Twin, route: Route): Resource | undefined {
  if (route.resource !== undefined) return twin.resources.get(route.resource)
  const first = twin.resources.values().next()
  return first.done ? undefined : first.value
}

function findDeployment(resource: Resource, route: Route, body: Json): Deployment {
  const name = route.deployment ?? textOf(body['model'])
  if (name === undefined) throw missing('model')
  const deployment = resource.deployments.get(name)
  if (!deployment) throw deploymentNotFound()
  return deployment
}

async function serveJson(exchange: Exchange, route: Route): Promise<void> {
  const body = await readJson(exchange.req)
  const deployment = findDeployment(exchange.resource, route, body)
  if (exchange.operation === 'chat') return serveChat(exchange, deployment, body)
  if (exchange.operation === 'responses') return serveResponses(exchange, deployment, body)
  if (exchange.operation === 'completions') return serveCompletions(exchange, deployment, body)
  if (exchange.operation === 'speech') return serveSpeech(exchange, deployment, body)
  return serveEmbeddings(exchange, deployment, body)
}

async function dispatch(exchange: Exchange, route: Route): Promise<void> {
  const { operation, req } = exchange
  const outage = exchange.twin.faults.outageOf(exchange.resource.settings.name)
  if (outage) {
    exchange.record.fault = outage.id
    if (outage.mode === 'hang') await exchange.untilClosed()
    if (outage.mode !== '503') exchange.drop(outage.id)
    throw serviceError(503)
  }
  const key = keyOf(req)
  if (key === undefined || !exchange.resource.settings.keys.includes(key)) throw unauthorized()
  if (operation === 'models') return serveModels(exchange, route.path[1], route.style === 'plain')
  if (operation === 'responses' && route.path[1] !== undefined)
    return serveStoredResponse(exchange, route.path[1], route.path[2])
  if (operation === 'client_secrets') return serveClientSecrets(exchange, route.path[0] === 'realtimeapi')
  if (operation === 'transcriptions') return serveTranscription(exchange, route.deployment)
  if (operation === 'files') return serveFiles(exchange, route.path, route.query)
  if (operation === 'batches') return serveBatches(exchange, route.path, route.query)
  return serveJson(exchange, route)
}

/** What a watcher on a spot machine polls; POST acknowledges events. No key: on Azure it is a link-local address. */
async function serveScheduledEvents(
  twin: Twin,
  resource: string,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  if (req.headers['metadata'] !== 'true')
    return refuse(res, new AzureError(400, { error: 'Bad request. Required metadata header not specified' }))
  const query = new URL(req.url ?? '/', 'http://twin').searchParams
  if (req.method === 'POST') {
    for (const request of listOf((await readJson(req))['StartRequests']))
      twin.evictions.start(textOf(objectOf(request)['EventId']) ?? '', twin.clock.now())
    twin.evictions.runDue(twin)
  }
  const body = Buffer.from(JSON.stringify(twin.evictions.document(resource, query.get('deployment') ?? undefined)))
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': body.byteLength })
  res.end(body)
}

const scheduledEvents = /^\/r\/([^/]+)\/metadata\/scheduledevents(?:\?|$)/

/** Serves one HTTP call of the API, from its URL to the end of its answer. Never throws. */
export async function serveCall(twin: Twin, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const url = req.url ?? '/'
  const machine = url.includes('/metadata/') ? scheduledEvents.exec(url)?.[1] : undefined
  if (machine !== undefined && twin.resources.has(machine)) {
    return serveScheduledEvents(twin, machine, req, res).catch(() => refuse(res, resourceNotFound()))
  }
  const route = parseRoute(url)
  const resource = route && findResource(twin, route)
  const operation = route && operationOf(req.method ?? 'GET', route.path)
  const apiVersion = route?.style === 'azure' ? route.query.get('api-version') : 'v1'
  if (!route || !resource || !operation || apiVersion === null || apiVersion === undefined) {
    req.resume()
    return refuse(res, resourceNotFound())
  }
  const exchange = new Exchange({ req, res, twin, resource, operation, apiVersion })
  try {
    await dispatch(exchange, route)
  } catch (error) {
    // An answer to a body that is still being sent: read the rest, or the client may never see the answer.
    if (!req.complete) req.resume()
    await exchange.fail(error)
  }
}
