import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { parseFault } from './parse-fault.ts'

export type ControlActions = {
  state(): unknown
  addFaults(faults: ReturnType<typeof parseFault>[]): unknown
  clearFaults(): void
  reset(): void
}

export type ControlServer = { port: number; close(): Promise<void> }

const mostBodyBytes = 1024 * 1024

/** Serves the control API, see the docs of `startAmqpEmulator`. */
export const startControlServer = async (actions: ControlActions, host: string): Promise<ControlServer> => {
  const server = createServer((request, response) => {
    handle(actions, request).then(
      (body) => answer(response, 200, body),
      (error: unknown) =>
        answer(response, error instanceof NotFound ? 404 : 400, {
          error: error instanceof Error ? error.message : String(error),
        }),
    )
  })
  server.headersTimeout = 10_000
  server.requestTimeout = 10_000
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, host, resolve)
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

class NotFound extends Error {}

const handle = async (actions: ControlActions, request: IncomingMessage): Promise<unknown> => {
  const route = `${request.method ?? ''} ${(request.url ?? '').split('?')[0] ?? ''}`
  if (route === 'GET /_control/state') return actions.state()
  if (route === 'POST /_control/faults') return actions.addFaults((await readFaults(request)).map(parseFault))
  if (route === 'DELETE /_control/faults') return done(() => actions.clearFaults())
  if (route === 'POST /_control/reset') return done(() => actions.reset())
  throw new NotFound(`there is no ${route}`)
}

const done = (action: () => void): { ok: true } => {
  action()
  return { ok: true }
}

const readFaults = async (request: IncomingMessage): Promise<unknown[]> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes <= mostBodyBytes) chunks.push(chunk)
  }
  // Read to its end all the same: a client that is still sending would not see the answer.
  if (bytes > mostBodyBytes) throw new Error('the body is too large')
  const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown
  if (Array.isArray(body)) return body
  const list = typeof body === 'object' && body !== null && 'faults' in body ? body.faults : [body]
  return Array.isArray(list) ? list : [list]
}

const answer = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}
