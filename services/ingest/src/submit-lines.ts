import { once } from 'node:events'
import { Readable } from 'node:stream'
import { decodeLine } from '@sluice/contracts'
import { AppError, openAIErrorBody, toAppError } from '@sluice/errors'
import { SlotPool } from '@sluice/resilience'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from './authenticate.ts'
import { bodyLines } from './body-lines.ts'
import { headersOf } from './client-gone.ts'
import { discardBody } from './discard-body.ts'
import { countSubmission } from './submit-limits.ts'
import { enqueueLine, idempotencyKey, type SubmitDeps, traceparentOf } from './enqueue-line.ts'

const maxLines = 10_000
const maxBytes = 64 * 1024 * 1024
/** What the first chunk of an upload may have. */
const chunkBytes = 64 * 1024
/** Lines of one upload that are stored and sent at a time. */
const concurrency = 32
/** A client that does not read its answers for this long is gone. */
const stalledMs = 30_000

/**
 * POST /v1/requests with NDJSON: every line is a request of its own, answered by a line as soon as its fate is known:
 * `{"index":0,"status":202,"request":{…}}` or `{"index":1,"status":400,"error":{…}}`. The order is that of the fates;
 * `index` counts lines from 0, blank ones left out. With an Idempotency-Key line n has the key `<key>/<n>`, so the whole
 * upload can be repeated. The answer's own status is 207 because it says nothing about any line.
 */
export async function submitLines(
  deps: SubmitDeps,
  caller: Caller,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const key = idempotencyKey(request)
  const parent = traceparentOf(request)
  // Before the answer begins: an upload for whose beginning there is no room is a 503 like any other.
  let reading = deps.bodies.open(caller.tenant)
  const declared = Number(request.headers['content-length'] ?? chunkBytes)
  reading.reach(Math.min(declared, chunkBytes, deps.bodyLimit))
  const { raw } = reply.hijack()
  raw.writeHead(207, { ...headersOf(reply), 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
  const gone = new AbortController()
  raw.once('close', () => gone.abort(new AppError('cancelled', 'The client has gone.')))
  const slots = new SlotPool(concurrency)
  const answer = (fate: object) => raw.write(`${JSON.stringify(fate)}\n`)

  const idle = async () => {
    const all = await Promise.all(Array.from({ length: concurrency }, () => slots.acquire()))
    for (const slot of all) slot.release()
  }
  /** Each line is a body of its own. One without room waits for those before it, whose end nothing keeps waiting. */
  const room = (bytes: number): Promise<void> | undefined => {
    try {
      reading.reach(bytes)
      return undefined
    } catch {
      return idle().then(() => reading.reach(bytes))
    }
  }

  const submit = async (index: number, bytes: Buffer): Promise<void> => {
    try {
      await countSubmission(deps.submitLimits, caller)
      const line = decodeLine(bytes, deps.bodyLimit)
      const lineKey = key === undefined ? undefined : `${key}/${index}`
      const { row } = await enqueueLine(deps, caller, line, { key: lineKey, parent })
      const { id, custom_id } = { id: row.id, custom_id: row.line.custom_id }
      answer({ index, status: 202, request: { id, custom_id, status: row.status, location: `/v1/requests/${id}` } })
    } catch (thrown) {
      answer(failure(index, toAppError(thrown)))
    }
  }

  let index = 0
  try {
    const body = request.body instanceof Readable ? request.body : Readable.from([])
    for await (const bytes of bodyLines(body, { maxLineBytes: deps.bodyLimit, maxBytes, room })) {
      if (index >= maxLines) throw new AppError('message_too_large', `Up to ${maxLines} lines in one body.`)
      const slot = await slots.acquire(gone.signal)
      const held = reading
      reading = deps.bodies.open(caller.tenant)
      void submit(index++, bytes).finally(() => {
        held.free()
        slot.release()
      })
      if (raw.writableNeedDrain)
        await once(raw, 'drain', { signal: AbortSignal.any([gone.signal, AbortSignal.timeout(stalledMs)]) })
    }
  } catch (thrown) {
    reading.free()
    // The line at which reading stopped; those before it have their answers.
    answer(failure(index, toAppError(thrown, 'invalid_line')))
    await discardBody(request.raw)
  }
  reading.free()
  await idle()
  raw.end()
}

function failure(index: number, error: AppError): object {
  const retry = error.retryAfterMs === undefined ? {} : { retry_after_ms: Math.ceil(error.retryAfterMs) }
  return { index, status: error.status, ...openAIErrorBody(error), ...retry }
}
