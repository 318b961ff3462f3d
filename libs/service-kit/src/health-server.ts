import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Metrics } from '@sluice/telemetry'
import type { LifecycleState } from './lifecycle.ts'
import type { CheckResult } from './readiness.ts'

/** What the probes look at. */
export interface ProbeSources {
  state: () => LifecycleState
  ready: () => Promise<Record<string, CheckResult>>
  metrics: Metrics
}

export interface ProbeAnswer {
  status: number
  contentType: string
  text: string
}

interface HealthServerOptions extends ProbeSources {
  host: string
  /** 0 takes any free port. */
  port: number
}

/**
 * The probes of an orchestrator: `/health/startup` turns 200 when the service has started, `/health/live` is 200 until it
 * failed, `/health/ready` is 200 while it takes work and its dependencies answer. `/metrics` is Prometheus' text.
 */
export async function startHealthServer(
  options: HealthServerOptions,
): Promise<{ port: number; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return send(response, json(405, { error: 'method not allowed' }))
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/'
    void probe(path, options)
      .then((answer) => send(response, answer ?? json(404, { error: 'not found' })))
      .catch(() => response.destroy())
  })
  server.listen(options.port, options.host)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** What a probe path is answered with; undefined for any other path. */
export async function probe(path: string, { state, ready, metrics }: ProbeSources): Promise<ProbeAnswer | undefined> {
  const status = state()
  switch (path) {
    case '/health/live':
      return json(status === 'failed' ? 503 : 200, { status })
    case '/health/startup':
      return json(status === 'starting' || status === 'failed' ? 503 : 200, { status })
    case '/health/ready': {
      if (status !== 'running') return json(503, { status, checks: {} })
      const checks = await ready()
      const ok = Object.values(checks).every((check) => check.ok)
      return json(ok ? 200 : 503, { status: ok ? status : 'unready', checks })
    }
    case '/metrics':
      return { status: 200, ...(await metrics.render()) }
    default:
      return undefined
  }
}

const json = (status: number, body: object): ProbeAnswer => ({
  status,
  contentType: 'application/json',
  text: `${JSON.stringify(body)}\n`,
})

function send(response: ServerResponse, { status, contentType, text }: ProbeAnswer): void {
  response.writeHead(status, { 'content-type': contentType, 'cache-control': 'no-store' }).end(text)
}
