import type { Deployment } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { Agent, type Dispatcher, request } from 'undici'
import { connectionFailure, refusal } from './forward-error.ts'

/** What is asked of the resource that keeps a response. */
export interface StoredResponseCall {
  method: 'GET' | 'DELETE'
  id: string
  /** After the id: `/input_items`. */
  part?: string
  query: URLSearchParams
  /** Sent as x-ms-client-request-id. */
  requestId: string
  signal: AbortSignal
}

/** Reads and deletes responses where they were made. */
export interface StoredResponses {
  /**
   * @returns the answer's body, to be read or destroyed
   * @throws AppError the provider's refusal, `not_found` when it does not know the response, `model_unavailable`
   */
  call(deployment: Deployment, call: StoredResponseCall): Promise<Dispatcher.ResponseData>
  close(): Promise<void>
}

// They lie ready: nothing is generated.
const timeouts = { connect: { timeout: 10_000 }, headersTimeout: 30_000, bodyTimeout: 30_000 }
const maxErrorBytes = 64 * 1024

/** @param apiKeyOf a deployment's key at this moment */
export function createStoredResponses(options: { apiKeyOf: (deployment: Deployment) => string }): StoredResponses {
  const agent = new Agent(timeouts)
  return {
    async call(deployment, { method, id, part = '', query, requestId, signal }) {
      const { name, endpoint } = deployment
      const search = query.size === 0 ? '' : `?${query.toString()}`
      const url = `${endpoint.replace(/\/$/, '')}/responses/${encodeURIComponent(id)}${part}${search}`
      const headers = {
        authorization: `Bearer ${options.apiKeyOf(deployment)}`,
        'x-ms-client-request-id': requestId,
      }
      let answer: Dispatcher.ResponseData
      try {
        answer = await request(url, { dispatcher: agent, method, headers, signal })
      } catch (error) {
        throw connectionFailure(name, error)
      }
      if (answer.statusCode < 300) return answer
      if (answer.statusCode === 404) {
        answer.body.on('error', () => undefined).destroy()
        throw new AppError('not_found', `Response with id ${JSON.stringify(id)} not found.`)
      }
      throw refusal(name, answer.statusCode, answer.headers, await firstBytes(answer.body))
    },
    close: () => agent.destroy(),
  }
}

async function firstBytes(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of body) {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > maxErrorBytes) break
    }
  } catch {
    // What was read says why, or nothing does.
  }
  return Buffer.concat(chunks)
}
