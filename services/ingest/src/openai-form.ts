import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { AppError } from '@sluice/errors'
import type { HeldBody } from './held-bodies.ts'
import { callerLeft, checkEncoding, type OpenAIBody, tooLarge } from './openai-body.ts'
import { boundaryOf, malformed, MultipartFilter } from './openai-multipart.ts'

/** Up to here a form is read before it is sent, so that a second deployment can have it as well. */
const replayBytes = 1024 * 1024

/**
 * Reads a multipart call as far as it must: until its model is known, wherever in the body it stands, and a little
 * further. The rest is passed on as it arrives, at the pace of the deployment that reads it. Sluice's options
 * (`sluice`, a JSON text) are those in front of that point.
 * @throws AppError as `readBytes` does; `no_capacity` when too much is held already; `invalid_line`
 */
export async function readFormCall(
  request: IncomingMessage,
  limit: number,
  named: string | undefined,
  held: HeldBody,
): Promise<OpenAIBody> {
  const boundary = boundaryOf(request.headers['content-type'])
  checkEncoding(request)
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > limit) throw tooLarge(limit)
  held.reach(Math.min(declared, replayBytes))
  const filter = new MultipartFilter(boundary, ['model', 'sluice'])
  const kept: Buffer[] = []
  let size = 0
  let complete = false

  /** What may be passed on of each chunk. Leaving the loop leaves the request open, for the next one to go on. */
  const passed = async function* (): AsyncGenerator<Buffer[]> {
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > limit) throw tooLarge(limit)
      yield filter.push(chunk)
    }
    if (!filter.ended) throw malformed('it ends early')
    complete = true
  }

  try {
    for await (const some of passed()) {
      kept.push(...some)
      held.reach(size)
      if (size >= replayBytes && (named !== undefined || filter.fields.has('model'))) break
    }
  } catch (error) {
    throw error instanceof AppError ? error : callerLeft()
  }

  const model = named ?? (filter.fields.get('model')?.trim() || 'auto')
  if (model.length > 256) throw new AppError('invalid_line', 'model: expected a name', { param: 'model' })
  let sent = false
  const stream = async function* (first: Buffer): AsyncGenerator<Buffer> {
    yield first
    yield* kept.splice(0)
    try {
      for await (const some of passed()) yield* some
    } catch (error) {
      throw error instanceof AppError ? error : callerLeft()
    }
  }
  return {
    body: { ...Object.fromEntries(filter.fields), model },
    sluice: optionsOf(filter.fields.get('sluice')),
    payload: {
      contentType: request.headers['content-type'] ?? '',
      stripUsage: false,
      bytes(azureName) {
        const first = filter.part('model', azureName)
        if (complete && !sent) return Buffer.concat([first, ...kept])
        if (sent) return undefined
        sent = true
        return Readable.from(stream(first), { objectMode: false })
      },
    },
  }
}

function optionsOf(text: string | undefined): unknown {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError('invalid_line', 'sluice: expected JSON', { param: 'sluice', cause })
  }
}
