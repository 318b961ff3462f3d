import type { FastifyInstance } from 'fastify'

const methods = 'GET, POST, PUT, PATCH, DELETE'
const exposed = [
  ...['location', 'preference-applied', 'retry-after', 'traceparent', 'x-request-id', 'x-sluice-request-id'],
  ...['limit', 'remaining', 'reset'].flatMap((what) => [`x-ratelimit-${what}-requests`, `x-ratelimit-${what}-tokens`]),
].join(', ')
const preflightSeconds = 600

/** Headers, names and values in turn, that let a browser page of that origin read an answer. */
export type CorsHeaders = (origin: string | undefined) => readonly string[]

/** @param origins as configured: exact, or `*` for every one */
export function createCors(origins: readonly string[]): CorsHeaders {
  const every = origins.includes('*')
  const allowed = new Set(origins)
  // Credentials are headers that a page's own code sets; cookies are never used, so none are allowed for.
  return (origin) =>
    origin === undefined || !(every || allowed.has(origin))
      ? []
      : [
          'access-control-allow-origin',
          every ? '*' : origin,
          'vary',
          'origin',
          'access-control-expose-headers',
          exposed,
        ]
}

/** Answers preflights and marks answers, for origins that are allowed; others get an answer that browsers keep away. */
export function allowOrigins(app: FastifyInstance, corsHeaders: CorsHeaders): void {
  app.addHook('onRequest', (request, reply, done) => {
    const { origin } = request.headers
    if (origin === undefined) return done()
    const headers = corsHeaders(origin)
    for (let at = 0; at < headers.length; at += 2) void reply.header(headers[at] ?? '', headers[at + 1])
    const asked = request.headers['access-control-request-headers']
    if (request.method !== 'OPTIONS' || request.headers['access-control-request-method'] === undefined) return done()
    if (headers.length > 0) {
      void reply.header('access-control-allow-methods', methods)
      if (typeof asked === 'string') void reply.header('access-control-allow-headers', asked)
      void reply.header('access-control-max-age', String(preflightSeconds))
    }
    return void reply.code(204).send()
  })
}
