import { decodeLine } from '@sluice/contracts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from './authenticate.ts'
import { type Enqueued, enqueueLine, idempotencyKey, type SubmitDeps, traceparentOf } from './enqueue-line.ts'
import { placeOf } from './place.ts'
import { textBody } from './read-input.ts'
import { requestView } from './request-view.ts'
import { countSubmission } from './submit-limits.ts'

/** POST /v1/requests with one line: the row is stored, then its message is sent, then 202. */
export async function submitRequest(
  deps: SubmitDeps,
  caller: Caller,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const key = idempotencyKey(request)
  await countSubmission(deps.submitLimits, caller, reply)
  const line = decodeLine(textBody(request), deps.bodyLimit)
  return accepted(deps, reply, await enqueueLine(deps, caller, line, { key, parent: traceparentOf(request) }))
}

/** Answers 202: where the request is asked after, and where it stands. */
export const accepted = async (
  { parking }: Pick<SubmitDeps, 'parking'>,
  reply: FastifyReply,
  { row, traceparent }: Enqueued,
): Promise<FastifyReply> =>
  reply
    .code(202)
    .header('location', `/v1/requests/${row.id}`)
    .header('traceparent', traceparent)
    .send(requestView(row, await placeOf(parking, row)))
