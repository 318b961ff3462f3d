import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer } from 'ws'
import { AzureError, deploymentNotFound, resourceNotFound, serviceError, unauthorized } from '../http/azure-error.ts'
import { beginRecord } from '../control/call-record.ts'
import type { CallRecord } from '../control/call-log.ts'
import type { Deployment } from '../quotas/deployment.ts'
import type { Fault } from '../control/faults.ts'
import { newId } from '../files/file-store.ts'
import { requireOperation, missing } from '../http/request-fields.ts'
import { parseRoute } from '../http/route.ts'
import type { Route } from '../http/route.ts'
import { findResource, keyOf } from '../http/serve-call.ts'
import type { Resource, Twin } from '../twin.ts'
import { toBetaEvent } from './event-names.ts'
import { RealtimeSession } from './realtime-session.ts'
import { defaultSession } from './session-settings.ts'
import type { SessionSettings } from './session-settings.ts'

const maxEventBytes = 32 * 1024 * 1024
// What a client may leave unread before its socket is closed.
const maxUnsentBytes = 64 * 1024 * 1024

function refuse(socket: Duplex, error: AzureError, record: CallRecord | undefined): void {
  if (record) {
    record.status = error.status
    record.outcome = error.status === 429 ? 'refused' : 'failed'
  }
  const body = JSON.stringify(error.body)
  const headers = Object.entries({
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
    ...error.headers,
  })
  socket.end(
    `HTTP/1.1 ${error.status} Refused\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
  )
}

/** The key of a handshake: a header, `api-key` in the query, or the browser's sub-protocol. */
function handshakeKey(req: IncomingMessage, route: Route): string | undefined {
  const protocols = (req.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
  const inProtocol = protocols
    .find((name) => name.startsWith('openai-insecure-api-key.'))
    ?.slice('openai-insecure-api-key.'.length)
  return keyOf(req) ?? route.query.get('api-key') ?? inProtocol
}

interface Opening {
  resource: Resource
  deployment: Deployment
  session: SessionSettings
  beta: boolean
  record: CallRecord
  faults: readonly Fault[]
}

/** Upgrades realtime handshakes and keeps their sessions until they close. */
export class RealtimeServer {
  readonly #twin: Twin
  // The HTTP server forgets a socket once it is upgraded, and would wait for it when it closes.
  readonly #sockets = new Set<Duplex>()
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: maxEventBytes,
    handleProtocols: (protocols) => (protocols.has('realtime') ? 'realtime' : false),
  })

  constructor(twin: Twin) {
    this.#twin = twin
  }

  /** Serves one handshake. Never throws: what is wrong is an HTTP answer. */
  async upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    // A client that leaves in the middle of its handshake is no error of the process.
    socket.on('error', () => socket.destroy())
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    let record: CallRecord | undefined
    try {
      const route = parseRoute(req.url ?? '/')
      const resource = route && findResource(this.#twin, route)
      if (!route || !resource || route.path.join('/') !== 'realtime') throw resourceNotFound()
      record = beginRecord(this.#twin, req, resource, 'realtime')
      const opening = this.#open(req, route, resource, record)
      for (const fault of opening.faults) {
        if (fault.type === 'status') throw serviceError(fault.status ?? 500, fault.retry_after_ms)
        if (fault.type === 'hang') return
        if (fault.type === 'delay') await new Promise((resolve) => setTimeout(resolve, fault.ms ?? 0))
        if (fault.type === 'drop' && (fault.at ?? 'headers') === 'headers') return this.#cut(socket, record, fault.id)
      }
      if (socket.destroyed) return
      this.#server.handleUpgrade(req, socket, head, (webSocket) => this.#serve(webSocket, opening))
    } catch (error) {
      if (error instanceof AzureError && error.status === 0) return this.#cut(socket, record, 'outage')
      refuse(socket, error instanceof AzureError ? error : serviceError(500), record)
    }
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #cut(socket: Duplex, record: CallRecord | undefined, why: string): void {
    if (record) Object.assign(record, { outcome: 'dropped', fault: why })
    socket.destroy()
  }

  #open(req: IncomingMessage, route: Route, resource: Resource, record: CallRecord): Opening {
    const twin = this.#twin
    const outage = twin.faults.outageOf(resource.settings.name)
    if (outage) throw outage.mode === '503' ? serviceError(503) : new AzureError(0, {})
    const key = handshakeKey(req, route)
    const prepared = key === undefined ? undefined : twin.secrets.redeem(resource.settings.name, key)
    if (key === undefined || (!prepared && !resource.settings.keys.includes(key))) throw unauthorized()
    const name = route.query.get('model') ?? route.query.get('deployment') ?? prepared?.model
    if (name === undefined) throw missing('model')
    const deployment = resource.deployments.get(name)
    if (!deployment) throw deploymentNotFound()
    record.deployment = name
    record.model = deployment.settings.model
    if (deployment.evicted) throw new AzureError(0, {})
    requireOperation(deployment.settings, 'realtime')
    const beta = route.style === 'azure' || req.headers['openai-beta'] === 'realtime=v1'
    const faults = twin.faults.hit(resource.settings.name, name, 'realtime')
    return { resource, deployment, session: prepared ?? defaultSession(name), beta, record, faults }
  }

  #serve(webSocket: WebSocket, { resource, deployment, session, beta, record, faults }: Opening): void {
    const startedAt = performance.now()
    const cutAfter = faults.find((fault) => fault.type === 'drop')?.after_events
    record.status = 101
    let sent = 0
    const call = {
      resource,
      deployment,
      cut: (why: string) => {
        Object.assign(record, { outcome: 'dropped', fault: why })
        webSocket.terminate()
      },
    }
    const send = (type: string, fields: Record<string, unknown>): void => {
      if (webSocket.readyState !== WebSocket.OPEN) return
      const event = beta ? toBetaEvent(type, fields) : { type, fields }
      if (!event) return
      if ((cutAfter !== undefined && sent >= cutAfter) || webSocket.bufferedAmount > maxUnsentBytes)
        return call.cut('drop')
      sent++
      if (type === 'response.done') this.#count(record, fields)
      webSocket.send(JSON.stringify({ type: event.type, event_id: newId('event_'), ...event.fields }))
    }
    const realtime = new RealtimeSession(this.#twin, deployment, { ...session, id: newId('sess_') }, beta, send)
    this.#twin.open.add(call)
    webSocket.on('message', (data: Buffer, binary) =>
      binary ? webSocket.close(1003, 'events are text') : realtime.receive(data.toString('utf8')),
    )
    webSocket.on('error', () => webSocket.terminate())
    webSocket.on('close', () => {
      realtime.close()
      this.#twin.open.delete(call)
      if (record.outcome === 'open') record.outcome = 'ok'
      record.ms = performance.now() - startedAt
    })
    realtime.open()
  }

  #count(record: CallRecord, fields: Record<string, unknown>): void {
    const usage = (fields['response'] as { usage?: { input_tokens: number; output_tokens: number } | null }).usage
    record.prompt_tokens += usage?.input_tokens ?? 0
    record.completion_tokens += usage?.output_tokens ?? 0
  }
}
