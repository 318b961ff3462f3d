import { readFile } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import type { Deployment } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { APIError, OpenAI } from 'openai'
import type { Batch } from 'openai/resources'
import { Agent, fetch as undiciFetch } from 'undici'

export type RegionalBatch = Batch

/**
 * Files and batches of the regions. Calls are bounded and never retried here.
 * @throws AppError `model_unavailable` (no answer, 408, 429 or 5xx: the region may be lost), `model_unauthorized`,
 * `not_found`, `model_rejected`; the signal's reason.
 */
export interface Provider {
  /** Uploads a batch file as it is read. @returns the region's id of it */
  upload(deployment: Deployment, name: string, lines: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<string>
  create(deployment: Deployment, input: { file: string; endpoint: string; part: string }): Promise<RegionalBatch>
  /** The newest batch over a file: one whose creation was not answered, or not noted. */
  find(deployment: Deployment, file: string): Promise<RegionalBatch | undefined>
  get(deployment: Deployment, id: string): Promise<RegionalBatch>
  /** Asks for the end; one that is over already stays as it is. */
  cancel(deployment: Deployment, id: string): Promise<void>
  content(deployment: Deployment, file: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>
  remove(deployment: Deployment, file: string): Promise<void>
  close(): Promise<void>
}

const callMs = 30_000
const transferMs = 30 * 60_000
/** How many of a region's newest batches are looked through for a lost one. */
const searched = 200

export function createProvider({ deployments }: { deployments: readonly Deployment[] }): Provider {
  // A transfer that stands still for a minute is dead, however long it may take as a whole.
  const agent = new Agent({ headersTimeout: 120_000, bodyTimeout: 60_000, connect: { timeout: 10_000 } })
  const fetch = (url: unknown, init: object = {}) =>
    undiciFetch(url as string, { ...init, dispatcher: agent }) as unknown as Promise<Response>
  const clients = new Map(
    deployments.filter(({ batch }) => batch !== undefined).map((one) => [one.name, clientOf(one, fetch)]),
  )

  const call = async <T>(
    deployment: Deployment,
    work: (client: OpenAI) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> => {
    const client = clients.get(deployment.name)
    if (!client) throw new AppError('model_unavailable', `${deployment.name} takes no batches.`)
    try {
      return await work(client)
    } catch (thrown) {
      signal?.throwIfAborted()
      throw translate(thrown, deployment.name)
    }
  }
  const bounded = { timeout: callMs, maxRetries: 0 }

  return {
    upload: (deployment, name, lines, signal) =>
      call(
        deployment,
        async (client) => {
          const boundary = `sluice-${randomUUID()}`
          // The SDK's own form would read the whole file into memory first.
          const file = await client.post<{ id: string }>('/files', {
            body: multipart(boundary, name, lines),
            headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
            ...{ timeout: transferMs, maxRetries: 0, signal },
          })
          return (file as { id: string }).id
        },
        signal,
      ),
    create: (deployment, { file, endpoint, part }) =>
      call(deployment, (client) =>
        client.batches.create(
          {
            input_file_id: file,
            endpoint: endpoint as '/v1/chat/completions',
            completion_window: '24h',
            metadata: { sluice_part: part },
          },
          bounded,
        ),
      ),
    find: (deployment, file) =>
      call(deployment, async (client) => {
        let seen = 0
        for await (const batch of client.batches.list({ limit: 100 }, bounded)) {
          if (batch.input_file_id === file) return batch
          if (++seen >= searched) return undefined
        }
        return undefined
      }),
    get: (deployment, id) => call(deployment, (client) => client.batches.retrieve(id, bounded)),
    cancel: async (deployment, id) => {
      await call(deployment, (client) => client.batches.cancel(id, bounded)).catch((error: unknown) => {
        if (!(error instanceof AppError && ['model_rejected', 'not_found'].includes(error.code))) throw error
      })
    },
    content: (deployment, file, signal) =>
      call(
        deployment,
        async (client) => {
          const answer = await client.files.content(file, { timeout: transferMs, maxRetries: 0, signal })
          if (answer.body === null) throw new AppError('model_unavailable', `${deployment.name} sent no content.`)
          return translated(answer.body, deployment.name, signal)
        },
        signal,
      ),
    remove: async (deployment, file) => {
      await call(deployment, (client) => client.files.delete(file, bounded)).catch(() => undefined)
    },
    close: () => agent.destroy(),
  }
}

function clientOf(deployment: Deployment, fetch: (url: unknown, init?: object) => Promise<Response>): OpenAI {
  const { api_key: key, api_key_file: keyFile } = deployment
  return new OpenAI({
    baseURL: deployment.endpoint,
    apiKey: keyFile === undefined ? (key ?? '') : async () => (await readFile(keyFile, 'utf8')).trim(),
    organization: null,
    project: null,
    adminAPIKey: null,
    webhookSecret: null,
    logLevel: 'off',
    maxRetries: 0,
    fetch,
  })
}

async function* multipart(boundary: string, name: string, lines: AsyncIterable<Uint8Array>) {
  const head = [
    `--${boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n`,
    `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="${name}"\r\n`,
    'content-type: application/jsonl\r\n\r\n',
  ]
  yield Buffer.from(head.join(''))
  yield* lines
  yield Buffer.from(`\r\n--${boundary}--\r\n`)
}

async function* translated(body: AsyncIterable<Uint8Array>, name: string, signal: AbortSignal) {
  try {
    yield* body
  } catch (thrown) {
    signal.throwIfAborted()
    throw translate(thrown, name)
  }
}

function translate(thrown: unknown, name: string): AppError {
  if (thrown instanceof AppError) return thrown
  const status = thrown instanceof APIError ? (thrown.status as number | undefined) : undefined
  if (status === undefined) return new AppError('model_unavailable', `${name} could not be reached.`)
  const message = `${name} answered ${status}`
  if (status === 408 || status === 429 || status >= 500) return new AppError('model_unavailable', `${message}.`)
  if (status === 401 || status === 403) return new AppError('model_unauthorized', `${message}.`)
  if (status === 404) return new AppError('not_found', `${message}.`)
  return new AppError('model_rejected', `${message}: ${(thrown as APIError).message.slice(0, 300)}`)
}
