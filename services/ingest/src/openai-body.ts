import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import {
  type DeploymentUrl,
  nestsTooDeeply,
  notInBackground,
  type RequestBody,
  tooDeepMessage,
} from '@sluice/contracts'
import { AppError, toAppError } from '@sluice/errors'
import type { ForwardPayload } from '@sluice/execution'
import { unsupportedMediaType } from './answer-error.ts'
import type { HeldBody } from './held-bodies.ts'
import { editMembers } from './openai-json.ts'

/** A call's body: what routing reads, the caller's options, and the bytes for a deployment. */
export interface OpenAIBody {
  body: RequestBody
  /** The body's own `sluice`, as it was sent. */
  sluice: unknown
  payload: ForwardPayload
}

/** The caller left before its body was complete: nobody is there to be answered. */
export const callerLeft = () => new AppError('cancelled', 'The body ended early.')

/**
 * @throws AppError `message_too_large`, `unsupported_media_type`, `no_capacity` when too much is held already, or
 * `cancelled` when the caller left
 */
export function readBytes(request: IncomingMessage, limit: number, held: HeldBody): Promise<Buffer> {
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > limit) throw tooLarge(limit)
  checkEncoding(request)
  // It may have ended while the caller was being looked up, and would say so to nobody.
  if (request.destroyed) throw callerLeft()
  held.reach(declared)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      try {
        if (size > limit) throw tooLarge(limit)
        // Its length may not have been said before.
        held.reach(size)
        chunks.push(chunk)
      } catch (error) {
        request.removeAllListeners('data').pause()
        reject(toAppError(error))
      }
    })
    request.on('end', () => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)))
    // A connection that is cut in the middle of a body has no `end`.
    request.on('close', () => {
      if (!request.complete) reject(callerLeft())
    })
    request.on('error', () => reject(callerLeft()))
  })
}

/** A body is passed on as it is: one that is compressed would arrive with a promise that nobody keeps. */
export function checkEncoding({ headers }: IncomingMessage): void {
  const encoding = headers['content-encoding']
  if (encoding === undefined || encoding === 'identity') return
  const message = `Content-Encoding: ${encoding.slice(0, 40)} is not taken; send the body as it is.`
  throw new AppError('unsupported_media_type', message, { param: 'Content-Encoding' })
}

export const tooLarge = (limit: number) =>
  new AppError('message_too_large', `The body is larger than ${limit} bytes.`, { param: 'body' })

/**
 * Reads a JSON call. It is parsed once; what goes to a deployment are the caller's own characters but for the model,
 * Sluice's options and, where a stream's usage must be counted, `stream_options`.
 * @param named the model that the path names, which goes before the body's
 * @throws AppError `invalid_json`, or `invalid_line` naming the field
 */
export function readJsonCall(
  request: IncomingMessage,
  bytes: Buffer,
  url: DeploymentUrl,
  named: string | undefined,
): OpenAIBody {
  if (!isJson(request.headers['content-type'])) throw unsupportedMediaType()
  if (!isUtf8(bytes)) throw new AppError('invalid_json', 'The body is not valid UTF-8.', { param: 'body' })
  const text = bytes.toString('utf8')
  const value = parse(text)
  const body = { ...value, model: named ?? value.model ?? 'auto' } as RequestBody
  checkFields(body, url)
  const { sluice, stream_options: streamOptions } = value
  const asked = typeof streamOptions === 'object' && streamOptions !== null ? streamOptions : {}
  const wantsUsage = 'include_usage' in asked && asked.include_usage === true
  const stripUsage = body.stream === true && url === '/v1/chat/completions' && !wantsUsage
  const usage: [string, string][] = stripUsage
    ? [['stream_options', JSON.stringify({ ...asked, include_usage: true })]]
    : []
  const dropped: [string, undefined][] = sluice === undefined ? [] : [['sluice', undefined]]
  return {
    body,
    sluice,
    payload: {
      contentType: 'application/json',
      stripUsage,
      bytes: (model, added) => {
        const edits = new Map<string, string | undefined>([['model', JSON.stringify(model)], ...usage, ...dropped])
        for (const [name, value] of Object.entries(added)) edits.set(name, JSON.stringify(value))
        return Buffer.from(editMembers(text, edits))
      },
    },
  }
}

const isJson = (type: string | undefined): boolean =>
  type === 'application/json' || (type !== undefined && /^application\/(?:[a-z.-]+\+)?json\s*(?:;|$)/i.test(type))

function parse(text: string): Record<string, unknown> {
  let value: unknown
  if (nestsTooDeeply(text)) throw new AppError('invalid_json', tooDeepMessage, { param: 'body' })
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new AppError('invalid_json', `The body is not valid JSON: ${place(cause)}`, { param: 'body', cause })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new AppError('invalid_json', 'The body is not a JSON object.', { param: 'body' })
}

/** Where parsing failed, without the text around it, which is the caller's prompt. */
const place = (cause: unknown): string =>
  /(?:at position \d+(?: \(line \d+ column \d+\))?|end of JSON input)/i.exec((cause as Error).message)?.[0] ??
  'bad syntax'

const maxima = ['max_tokens', 'max_completion_tokens', 'max_output_tokens', 'n'] as const

// Only what routing and accounting read is checked; everything else is the provider's to judge.
function checkFields(body: RequestBody, url: DeploymentUrl): void {
  const { model, stream, messages, input } = body
  if (typeof model !== 'string' || model === '' || model.length > 256) throw wrong('model', 'expected a name')
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean')
    throw wrong('stream', 'expected a boolean')
  for (const name of maxima) {
    const value = body[name]
    if (value === undefined || value === null || (Number.isSafeInteger(value) && (value as number) > 0)) continue
    throw wrong(name, 'expected a positive integer')
  }
  switch (url) {
    case '/v1/chat/completions':
      return checkMessages(messages)
    case '/v1/responses':
      if (body.background === true) throw wrong('background', notInBackground)
      if (input === undefined && (body.prompt ?? body.previous_response_id) !== undefined) return
      return checkInput(input)
    case '/v1/embeddings':
      return checkInput(input)
    case '/v1/audio/speech':
      if (typeof input !== 'string' || input === '') throw wrong('input', 'expected a text')
      return
    case '/v1/audio/transcriptions':
    case '/v1/realtime':
  }
}

function checkMessages(messages: unknown): void {
  if (!Array.isArray(messages) || messages.length === 0) throw wrong('messages', 'expected a list of messages')
  for (const [index, message] of messages.entries()) {
    const isObject = typeof message === 'object' && message !== null && !Array.isArray(message)
    if (!isObject) throw wrong(`messages[${index}]`, 'expected an object')
    const { role } = message as { role?: unknown }
    if (typeof role !== 'string' || role === '') throw wrong(`messages[${index}].role`, 'expected a role')
  }
}

function checkInput(input: unknown): void {
  if (typeof input === 'string' || (Array.isArray(input) && input.length > 0)) return
  throw wrong('input', 'expected a text or a list')
}

const wrong = (param: string, what: string) => new AppError('invalid_line', `${param}: ${what}`, { param })
