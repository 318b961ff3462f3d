import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface BenchReceiver {
  url: string
  /** Event ids and when each came first. */
  first: ReadonlyMap<string, number>
  /** Subjects that had an effect more than once: their event came under another id. */
  doubled(): number
  /** Paths below /hangs are never answered, until then. */
  release(): void
  /** Resolves when `has` says so; it is asked after every arrival. @throws after `withinMs` */
  until(has: () => boolean, withinMs: number): Promise<void>
  close(): Promise<void>
}

/** A receiver that does the least: it reads the body, notes the id, and answers. */
export async function startBenchReceiver(): Promise<BenchReceiver> {
  const first = new Map<string, number>()
  const effects = new Map<string, Set<string>>()
  let hanging = true
  let waiter: (() => void) | undefined
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (request.url?.startsWith('/hangs') === true) {
        if (!hanging) response.writeHead(410).end()
        return
      }
      response.writeHead(204).end()
      const text = Buffer.concat(chunks).toString('utf8')
      const id = String(request.headers['webhook-id'])
      const subject = /"subject":"([^"]+)"/.exec(text)?.[1] ?? ''
      if (!first.has(id)) first.set(id, Date.now())
      // What a receiver that remembers ids would act on.
      const acted = effects.get(subject) ?? new Set()
      effects.set(subject, acted.add(id))
      waiter?.()
    })
  })
  server.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    first,
    doubled: () => [...effects.values()].filter((ids) => ids.size > 1).length,
    release: () => (hanging = false),
    until: (has, withinMs) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiter = undefined
          reject(new Error(`not within ${withinMs} ms`))
        }, withinMs)
        waiter = () => {
          if (!has()) return
          clearTimeout(timer)
          waiter = undefined
          resolve()
        }
        waiter()
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
