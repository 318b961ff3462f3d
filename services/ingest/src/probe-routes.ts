import { AppError } from '@sluice/errors'
import type { ServiceContext } from '@sluice/service-kit'
import { z } from 'zod'
import type { Routes } from './routes.ts'

const readySchema = z.object({
  status: z.string(),
  checks: z.record(z.string(), z.object({ ok: z.boolean(), ms: z.number(), error: z.string().optional() })),
})

const probes = [
  { path: '/health', probe: '/health/ready', summary: 'The same as /health/ready', schema: readySchema },
  { path: '/health/live', probe: '/health/live', summary: 'Whether the process works' },
  { path: '/health/ready', probe: '/health/ready', summary: 'Each dependency with its latency', schema: readySchema },
  { path: '/health/startup', probe: '/health/startup', summary: 'Whether it has started' },
  { path: '/metrics', probe: '/metrics', summary: 'Prometheus metrics', contentType: 'text/plain' },
]

/**
 * This port is open to tenants, and what one of them earns or spends is not the others' to see: series by tenant are
 * on the port for probes alone.
 */
const withoutTenants = (text: string): string => text.replace(/^[^#\n]*\btenant="[^\n]*\n/gm, '')

/** The probes of an orchestrator, on the door's own port as well. */
export function probeRoutes(routes: Routes, probe: ServiceContext<unknown>['probe']): void {
  for (const { path, probe: name, summary, schema, contentType = 'application/json' } of probes) {
    const answer = { description: 'healthy', contentType, ...(schema === undefined ? {} : { schema }) }
    routes.open({ method: 'GET', path, tag: 'health', summary, answers: { 200: answer } }, async (_, reply) => {
      const found = await probe(name)
      if (found === undefined) throw new AppError('not_found', 'No such probe.')
      return reply
        .code(found.status)
        .header('content-type', found.contentType)
        .header('cache-control', 'no-store')
        .send(path === '/metrics' ? withoutTenants(found.text) : found.text)
    })
  }
}
