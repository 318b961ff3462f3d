import { checkLine, type FileRef, type ResultLine } from '@sluice/contracts'
import { AppError, isErrorCode } from '@sluice/errors'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from './authenticate.ts'
import { awaitEnd } from './await-end.ts'
import { clientGone } from './client-gone.ts'
import { type Enqueued, enqueueLine, idempotencyKey, type SubmitDeps, traceparentOf } from './enqueue-line.ts'
import { sluiceOptions } from './openai-options.ts'
import { type OpenAIPath, openAIPath } from './openai-path.ts'
import { appliedPreference, type Preference, preferenceOf } from './preference.ts'
import { dropFile, type QueuedForm, receiveQueuedForm } from './queued-form.ts'
import { jsonBody } from './read-input.ts'
import type { ReadDeps } from './read-requests.ts'
import { countSubmission } from './submit-limits.ts'
import { accepted } from './submit-request.ts'

const blobLimitBytes = 64 * 1024 * 1024

/**
 * An OpenAI route under `Prefer: respond-async`: the body is queued as a line and answered with 202. With `wait=10` as
 * well it is queued first, and its own answer is given if it is there in time; either way the request is stored, goes
 * on without its caller, and is found under the id of the header `x-sluice-request-id`.
 */
export async function preferAsync(
  deps: SubmitDeps & ReadDeps,
  caller: Caller,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const path = openAIPath(request.raw.url ?? '')
  if (path === undefined) throw new AppError('not_found', `Unknown route: POST ${request.url.split('?', 1)[0]}`)
  const preference = preferenceOf(request.headers.prefer)
  if (preference === undefined) throw new AppError('internal', 'a synchronous call reached the queue')
  if (preference.waitSeconds === 0) return queueCall(deps, caller, request, reply, { path, preference })
  // Before anything is stored: who may not wait has not asked yet.
  const leave = deps.watchers.enter(caller.tenant)
  try {
    return await queueCall(deps, caller, request, reply, { path, preference })
  } finally {
    leave()
  }
}

async function queueCall(
  deps: SubmitDeps & ReadDeps,
  caller: Caller,
  request: FastifyRequest,
  reply: FastifyReply,
  { path, preference }: { path: OpenAIPath; preference: Preference },
): Promise<FastifyReply> {
  const key = idempotencyKey(request)
  await countSubmission(deps.submitLimits, caller, reply)
  const call =
    path.url === '/v1/audio/transcriptions'
      ? await receiveQueuedForm(deps, caller.tenant, request)
      : callOf(jsonBody(request))
  const enqueued = await enqueue(deps, caller, request, { path, call, key })
  void reply.header('x-sluice-request-id', enqueued.row.id)

  // Who asks for a stream cannot use one whole answer; its events are under /v1/requests/{id}/events.
  const wanted: Preference = call.body.stream === true ? { waitSeconds: 0 } : preference
  const gone = AbortSignal.any([clientGone(reply), deps.closing])
  const row = await awaitEnd(deps, enqueued.row, wanted.waitSeconds * 1000, gone)
  const queued = row.result === undefined || wanted.waitSeconds === 0
  void reply.header('preference-applied', appliedPreference(wanted, queued))
  if (row.result === undefined || queued) return accepted(deps, reply, { ...enqueued, row })
  return answerOf(deps, caller.tenant, row.result, reply)
}

interface Call extends Omit<QueuedForm, 'file'> {
  file?: FileRef
}

interface Queued {
  path: OpenAIPath
  call: Call
  key: string | undefined
}

const callOf = ({ sluice, ...body }: Record<string, unknown>): Call => ({ body, sluice })

/** Stores the call as a request. A file that no request came to refer to is deleted. */
async function enqueue(
  deps: SubmitDeps & ReadDeps,
  caller: Caller,
  request: FastifyRequest,
  queued: Queued,
): Promise<Enqueued> {
  const { file } = queued.call
  const drop = async () => file !== undefined && dropFile(deps.blobs, caller.tenant, file)
  try {
    const line = lineOf(caller, request, queued)
    const enqueued = await enqueueLine(deps, caller, line, { key: queued.key, parent: traceparentOf(request) })
    // A repetition: the request has the file that came first.
    if (!enqueued.created) await drop()
    return enqueued
  } catch (error) {
    // After any other failure the request may be stored all the same.
    if (error instanceof AppError && error.status < 500) await drop()
    throw error
  }
}

/** The line that a synchronous body stands for. @throws AppError that names the field as the caller wrote it */
function lineOf(caller: Caller, request: FastifyRequest, { path: { url, model }, call, key }: Queued) {
  const { body, sluice, file } = call
  const { deliver, ...options } = isObject(sluice) ? sluice : {}
  const named = sluiceOptions(request.headers, isObject(sluice) ? options : sluice, caller.tenant)
  try {
    return checkLine({
      // The same for a repetition, which must be the same request.
      custom_id: key ?? request.id,
      method: 'POST',
      url,
      body: model === undefined ? body : { ...body, model },
      ...(file === undefined ? {} : { file_ref: file }),
      ...(named === undefined && deliver === undefined
        ? {}
        : { sluice: { ...named, ...(deliver === undefined ? {} : { deliver }) } }),
    })
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.param?.startsWith('body.') !== true) throw thrown
    const message = thrown.message.replace(/^body\./, '')
    throw new AppError(thrown.code, message, { param: thrown.param.slice('body.'.length), cause: thrown })
  }
}

/** The result as the synchronous call would have been answered. */
async function answerOf(
  deps: ReadDeps,
  tenant: string,
  result: ResultLine,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { response, error } = result
  if (response === null || response.status_code >= 400) {
    const code = error !== null && isErrorCode(error.code) ? error.code : 'model_unavailable'
    throw new AppError(code, error?.message ?? 'The request was not answered.', {
      ...(response === null ? {} : { status: response.status_code }),
      ...(typeof error?.param === 'string' ? { param: error.param } : {}),
    })
  }
  if (response.content_type !== undefined) void reply.type(response.content_type)
  if (response.body_ref === undefined) return reply.code(response.status_code).send(response.body)
  const { body_ref: ref } = response
  const bytes = await deps.blobs.get(tenant, ref, { maxBytes: blobLimitBytes, signal: AbortSignal.timeout(10_000) })
  return reply.code(response.status_code).type(ref.content_type).send(bytes)
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
