import { AppError } from '@sluice/errors'
import type { z } from 'zod'
import { nestsTooDeeply, tooDeepMessage } from './json-depth.ts'
import { inlineLineSchema, lineUrls, lineVersion, refLineSchema, type RequestLine } from './request-line.ts'

/** Service Bus' limit for a line: above it the body travels as a claim check. Bytes of the UTF-8 JSON. */
const maxInlineLineBytes = 192 * 1024

const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Reads a line from the bytes of a message or an HTTP body.
 * @throws AppError `invalid_json`, `invalid_line`, `unsupported_url`, `unsupported_version` or `message_too_large`;
 * `param` names the field.
 */
export function decodeLine(bytes: Uint8Array | string, maxBytes = maxInlineLineBytes): RequestLine {
  if (bytes.length > maxBytes) {
    throw new AppError(
      'message_too_large',
      `The line has ${bytes.length} bytes; up to ${maxBytes} travel inline, larger bodies as body_ref.`,
      { param: 'body' },
    )
  }
  return checkLine(parseJson(bytes))
}

function parseJson(bytes: Uint8Array | string): unknown {
  let text: string
  try {
    text = typeof bytes === 'string' ? bytes : utf8.decode(bytes)
  } catch (cause) {
    throw new AppError('invalid_json', 'The line is not valid UTF-8.', { cause })
  }
  if (nestsTooDeeply(text)) throw new AppError('invalid_json', tooDeepMessage)
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError('invalid_json', `The line is not valid JSON: ${placeOf(cause)}`)
  }
}

/** Where parsing failed, without the text around it: it is a prompt, and the sentence goes to logs and dead letters. */
const placeOf = (cause: unknown): string =>
  /(?:at position \d+(?: \(line \d+ column \d+\))?|end of JSON input)/i.exec((cause as Error).message)?.[0] ??
  'bad syntax'

/** Validates a parsed line; see {@link decodeLine} for what it throws. */
export function checkLine(value: unknown): RequestLine {
  if (!isObject(value)) throw new AppError('invalid_line', 'A line is a JSON object.')
  const { url, sluice } = value
  if (typeof url !== 'string')
    throw new AppError('invalid_line', 'url: expected one of the endpoints', { param: 'url' })
  if (!(lineUrls as readonly string[]).includes(url)) {
    throw new AppError(
      'unsupported_url',
      `url: ${JSON.stringify(url.slice(0, 200))} is none of ${lineUrls.join(', ')}`,
      { param: 'url' },
    )
  }
  if (isObject(sluice) && sluice.version !== undefined && sluice.version !== lineVersion) {
    throw new AppError('unsupported_version', `sluice.version: this reader knows version ${lineVersion}`, {
      param: 'sluice.version',
    })
  }
  if (value.body === undefined && value.body_ref === undefined) {
    throw new AppError('invalid_line', 'body: required, or a body_ref', { param: 'body' })
  }
  if (value.body !== undefined && value.body_ref !== undefined) {
    throw new AppError('invalid_line', 'body_ref: not together with body', { param: 'body_ref' })
  }
  if (url === '/v1/audio/transcriptions' && value.file_ref === undefined) {
    throw new AppError('invalid_line', 'file_ref: required, the claim check of the recording', { param: 'file_ref' })
  }
  if (url !== '/v1/audio/transcriptions' && value.file_ref !== undefined) {
    throw new AppError('invalid_line', 'file_ref: only for /v1/audio/transcriptions', { param: 'file_ref' })
  }
  const parsed = (value.body_ref === undefined ? inlineLineSchema : refLineSchema).safeParse(value)
  if (!parsed.success) throw invalidLine(parsed.error)
  return parsed.data as RequestLine
}

/**
 * The line's own words on who sent it and where its result goes, read leniently from a line that failed validation,
 * so that even its sender can be answered. Anything unreadable is left out.
 */
export function salvageLine(bytes: Uint8Array | string): { custom_id?: string; tenant?: string; deliver?: unknown[] } {
  try {
    const value = parseJson(bytes)
    if (!isObject(value)) return {}
    const sluice = isObject(value.sluice) ? value.sluice : {}
    return {
      ...(typeof value.custom_id === 'string' ? { custom_id: value.custom_id.slice(0, 512) } : {}),
      ...(typeof sluice.tenant === 'string' ? { tenant: sluice.tenant } : {}),
      ...(Array.isArray(sluice.deliver) ? { deliver: sluice.deliver.slice(0, 16) } : {}),
    }
  } catch {
    return {}
  }
}

/** Turns zod's issues into one sentence that names the first field at fault. */
export function invalidLine(error: z.ZodError): AppError {
  const issue = error.issues[0]
  const unknownKey = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined
  const path = paramOf([...(issue?.path ?? []), ...(unknownKey === undefined ? [] : [unknownKey])])
  const what = unknownKey === undefined ? (issue?.message ?? 'invalid') : 'unknown field'
  return new AppError('invalid_line', path === '' ? what : `${path}: ${what}`, path === '' ? {} : { param: path })
}

/** A zod path in the form that OpenAI's errors use: `body.messages[0].role`. */
export function paramOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`
    return text === '' ? String(part) : `${text}.${String(part)}`
  }, '')
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
