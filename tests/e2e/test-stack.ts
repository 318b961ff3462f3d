import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ResultEvent } from '@sluice/contracts'
import { Webhook } from 'standardwebhooks'
import { type LocalStack, startLocalStack } from '../../stack/src/local-stack.ts'

export interface TestStack extends LocalStack {
  localDir: string
  /** Log lines of every process so far, for a test that looks for what must not be there. */
  logs: string[]
  /** Calls ingest with the stack's key. */
  api(path: string, init?: RequestInit & { key?: string | null }): Promise<Response>
}

/** A whole stack of its own for one test file. Logs are kept and shown only when a start fails. */
export async function startTestStack(
  options: {
    env?: Record<string, string>
    durable?: boolean
    /** Of every queue and subscription, as ISO 8601: what a killed receiver held comes again after that long. */
    lockDuration?: string
    /** The platform configuration as YAML, instead of config/sluice.yaml. */
    config?: string
  } = {},
): Promise<TestStack> {
  const localDir = mkdtempSync(join(tmpdir(), 'sluice-test-'))
  const logs: string[] = []
  const stack = await startLocalStack({
    localDir,
    dataDir: options.durable === true ? join(localDir, 'data') : undefined,
    port: 0,
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.config === undefined ? {} : { configFile: writtenTo(localDir, 'sluice.yaml', options.config) }),
    ...(options.lockDuration === undefined ? {} : { serviceBusConfig: withLocks(localDir, options.lockDuration) }),
    report: (event) => logs.push(`${event.name} ${event.kind === 'line' ? event.line : event.note}`),
  }).catch((error: unknown) => {
    console.error(logs.join('\n'))
    throw error
  })
  return {
    ...stack,
    localDir,
    logs,
    api: (path, { key = stack.env.SLUICE_API_KEY ?? '', ...init } = {}) =>
      fetch(`${stack.env.INGEST_URL}${path}`, {
        signal: AbortSignal.timeout(15_000),
        ...init,
        headers: {
          ...(init.body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(key === null ? {} : { authorization: `Bearer ${key}` }),
          ...(init.headers as Record<string, string> | undefined),
        },
      }),
    stop: async () => {
      await stack.stop()
      rmSync(localDir, { recursive: true, force: true })
    },
  }
}

function withLocks(dir: string, lockDuration: string): string {
  const entities = readFileSync('config/service-bus.json', 'utf8')
  const locked = entities.replaceAll(/"LockDuration": "[^"]+"/g, `"LockDuration": "${lockDuration}"`)
  return writtenTo(dir, 'service-bus.json', locked)
}

function writtenTo(dir: string, name: string, text: string): string {
  const file = join(dir, name)
  writeFileSync(file, text)
  return file
}

/** A webhook receiver written with `standardwebhooks` alone, that remembers what it verified. */
export async function startInbox(secret: string) {
  const webhook = new Webhook(secret)
  const received: { webhookId: string; event: ResultEvent }[] = []
  let unverified = 0
  /** Answers the next calls with these statuses before it accepts. */
  const refusals: number[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const refusal = refusals.shift()
      if (refusal !== undefined) return response.writeHead(refusal).end()
      try {
        const headers = request.headers as Record<string, string>
        const event = webhook.verify(Buffer.concat(chunks).toString('utf8'), headers) as ResultEvent
        received.push({ webhookId: String(headers['webhook-id']), event })
        return response.writeHead(204).end()
      } catch {
        unverified++
        return response.writeHead(401).end()
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`,
    received,
    refusals,
    unverified: () => unverified,
    of: (customId: string) => received.filter(({ event }) => event.data.custom_id === customId),
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Polls until `look` answers something; the deadline is generous because it only matters when the test fails. */
export async function eventually<T>(
  look: () => T | undefined | Promise<T | undefined>,
  what: string,
  withinMs = 60_000,
): Promise<T> {
  const until = Date.now() + withinMs
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > until) throw new Error(`${what}: not within ${withinMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

/** A line that asks for a short chat answer. */
export const chatLine = (customId: string, content: string, sluice: object = {}, body: object = {}) => ({
  custom_id: customId,
  method: 'POST' as const,
  url: '/v1/chat/completions' as const,
  body: { model: 'auto', messages: [{ role: 'user', content }], max_tokens: 50, ...body },
  sluice,
})
