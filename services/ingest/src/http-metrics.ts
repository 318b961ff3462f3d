import type { Metrics } from '@sluice/telemetry'
import type { FastifyInstance } from 'fastify'

// Long polls and event streams last as long as they are asked to.
const buckets = [0.005, 0.02, 0.05, 0.1, 0.25, 1, 5, 30, 120, 600]

/** Times every answer by its route as it was registered, never by its path, which holds ids. */
export function measureAnswers(app: FastifyInstance, metrics: Metrics): void {
  const seconds = metrics.histogram({
    name: 'sluice_http_answer_seconds',
    help: 'Time to answer, by route; the synchronous OpenAI routes have metrics of their own.',
    labels: ['method', 'route', 'status'],
    buckets,
  })
  app.addHook('onResponse', (request, reply, done) => {
    const { method, routeOptions } = request
    const status = reply.raw.statusCode
    seconds.observe({ method, route: routeOptions.url ?? 'unknown', status }, reply.elapsedTime / 1000)
    done()
  })
}
