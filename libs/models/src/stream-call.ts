import type { Deployment } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { ForwardCall, ForwardClient, ForwardController } from './forward-client.ts'
import { connectionFailure, refusal, streamFailure } from './forward-error.ts'
import { SseParser } from './sse-parser.ts'
import { StreamedChat, StreamedResponse } from './streamed-answer.ts'

/** A streamed answer when it has come to its end. */
export interface StreamEnd {
  status: number
  headers: Readonly<Record<string, string | string[] | undefined>>
  body: unknown
  /** Until the first event that is output. */
  firstOutputMs: number
}

interface StreamOptions {
  client: ForwardClient
  deployment: Deployment
  call: ForwardCall
  /** Each event's value, from the first that is output on; those before it come with it. Throwing ends the call. */
  onDelta: (event: unknown) => void
  /** Whether the caller wants the chunk with the usage, which is always asked for. */
  handUsage: boolean
  /** Aborts with the timeout or the caller. */
  signal: AbortSignal
  monotonic: () => number
}

const maxErrorBytes = 64 * 1024

/**
 * Calls a deployment and hands its events on while they come.
 * @throws AppError as a call that is not streamed does, and `model_unavailable` for a stream that breaks off; the
 * signal's reason
 */
export function streamCall(options: StreamOptions): Promise<StreamEnd> {
  const { client, deployment, call, signal, monotonic, onDelta, handUsage } = options
  const startedAt = monotonic()
  const events = new SseParser()
  const answer = call.url === '/v1/responses' ? new StreamedResponse() : new StreamedChat()
  const held: unknown[] = []
  const errorChunks: Buffer[] = []
  let errorBytes = 0
  let begunMs: number | undefined
  let controller: ForwardController | undefined
  let status = 0
  let headers: StreamEnd['headers'] = {}

  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      signal.removeEventListener('abort', onAbort)
      settle()
    }
    const fail = (error: unknown) => {
      end(() => reject(error))
      controller?.abort(gone)
    }
    const onAbort = () => fail(signal.reason)
    const take = (event: unknown) => {
      const output = answer.push(event)
      if (answer.failure !== undefined) throw streamFailure(deployment.name, answer.failure)
      if (handUsage || !isUsageOnly(event)) held.push(event)
      if (output) begunMs ??= monotonic() - startedAt
      if (begunMs !== undefined) for (const one of held.splice(0)) onDelta(one)
    }
    const broken = () => new AppError('model_unavailable', `${deployment.name} broke off before the end of its answer.`)
    const takeAll = (read: () => unknown[]): boolean => {
      try {
        for (const event of read()) take(event)
        return true
      } catch (error) {
        fail(error instanceof SyntaxError ? broken() : error)
        return false
      }
    }
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort)

    client.send(deployment, call, {
      onRequestStart(started) {
        controller = started
        if (signal.aborted) started.abort(gone)
      },
      onResponseStart(_, code, fields) {
        status = code
        headers = fields
      },
      onResponseData(_, chunk) {
        if (status < 300) return void takeAll(() => events.push(chunk))
        errorBytes += chunk.length
        if (errorBytes <= maxErrorBytes) errorChunks.push(chunk)
      },
      onResponseEnd() {
        if (status >= 300) return fail(refusal(deployment.name, status, headers, Buffer.concat(errorChunks)))
        if (!takeAll(() => events.flush())) return
        const body = answer.whole()
        if (body === undefined) return fail(broken())
        for (const one of held.splice(0)) onDelta(one)
        end(() => resolve({ status, headers, body, firstOutputMs: begunMs ?? monotonic() - startedAt }))
      },
      onResponseError(_, thrown) {
        fail(connectionFailure(deployment.name, thrown))
      },
    })
  })
}

const isUsageOnly = (event: unknown): boolean => {
  const { choices, usage } = event as { choices?: unknown; usage?: unknown }
  return Array.isArray(choices) && choices.length === 0 && typeof usage === 'object' && usage !== null
}

const gone = new Error('the call was given up')
