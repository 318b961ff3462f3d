import { createHash } from 'node:crypto'
import {
  checkLine,
  contentHash,
  nestsTooDeeply,
  type RequestBody,
  type RequestLine,
  type ResultLine,
  tooDeepMessage,
} from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Blobs } from '@sluice/storage'
import type { Row, RowLine } from './row.ts'

/** Bodies beyond this many bytes of JSON lie in Blob: a row is read and rewritten at every transition. */
const inlineBodyBytes = 16 * 1024

/**
 * What an idempotency key stands for. A body counts by the hash of its JSON text, so that a line has the same hash
 * whether its body travels inline or as the claim check that we made of it. The order of the body's fields counts:
 * models answer in the order of a schema's fields. The tenant is part of the identity and is left out.
 */
export function lineHash(line: RequestLine): string {
  const { tenant: _, ...options } = line.sluice ?? {}
  return contentHash({
    custom_id: line.custom_id,
    url: line.url,
    body: line.body_ref?.sha256 ?? sha256(JSON.stringify(line.body)),
    // Whoever uploads a recording again uploads it under another name.
    ...(line.file_ref === undefined ? {} : { file: { ...line.file_ref, blob: undefined } }),
    sluice: options,
  })
}

/** The hash of something in which no line could be read. */
export const bytesHash = (bytes: Uint8Array): string => sha256(bytes)

/** Puts a large body into Blob, under a name made of its content: whoever stores it twice stores the same. */
export async function storeBody(
  blobs: Blobs,
  row: Pick<Row, 'id' | 'tenant'>,
  { body, body_ref }: RequestLine,
): Promise<Pick<Row, 'body' | 'body_ref'>> {
  if (body_ref !== undefined) return { body_ref }
  if (body === undefined) throw new AppError('invalid_line', 'body: required, or a body_ref', { param: 'body' })
  const ref = await storeIfLarge(blobs, row, 'requests', body)
  return ref === undefined ? { body } : { body_ref: ref }
}

/** Stores a JSON value as a blob when it is too large for a row. @returns its claim check, or undefined when it is not */
async function storeIfLarge(
  blobs: Blobs,
  { id, tenant }: Pick<Row, 'id' | 'tenant'>,
  folder: 'requests' | 'results',
  value: unknown,
) {
  const text = JSON.stringify(value)
  // Every UTF-16 unit takes at least one byte and at most three, so most values are decided without encoding them.
  if (text.length * 3 <= inlineBodyBytes || Buffer.byteLength(text) <= inlineBodyBytes) return undefined
  const bytes = Buffer.from(text)
  return blobs.put(tenant, `${folder}/${id}/${sha256(bytes).slice(0, 32)}.json`, bytes, 'application/json')
}

/**
 * An answer as a row can hold it: sound always goes to Blob, as the bytes that it is, JSON and texts when they are large.
 */
export async function storeAnswer(
  blobs: Blobs,
  row: Pick<Row, 'id' | 'tenant'>,
  response: NonNullable<ResultLine['response']>,
): Promise<NonNullable<ResultLine['response']>> {
  const { body, content_type: type, ...rest } = response
  if (body === undefined) return response
  if (type === undefined) {
    const ref = await storeIfLarge(blobs, row, 'results', body)
    return ref === undefined ? response : { ...rest, body_ref: ref }
  }
  const isText = typeof body === 'string'
  const bytes = isText ? Buffer.from(body) : (body as Uint8Array)
  if (isText && bytes.byteLength <= inlineBodyBytes) return response
  const path = `results/${row.id}/${sha256(bytes).slice(0, 32)}`
  return { ...rest, body_ref: await blobs.put(row.tenant, path, bytes, type) }
}

/** The row's body, validated for the line's url when it comes from a blob that a caller wrote. */
export async function loadBody(blobs: Blobs, row: Row, signal: AbortSignal): Promise<RequestBody> {
  if (row.body !== undefined) return row.body
  if (row.body_ref === undefined) {
    throw new AppError('invalid_line', 'body: the request was stored without one', { param: 'body' })
  }
  const bytes = await blobs.get(row.tenant, row.body_ref, { signal })
  const { body } = checkLine({ ...row.line, body: parseBody(bytes) })
  return body as RequestBody
}

export function withoutBody(line: RequestLine): RowLine {
  const { body: _, body_ref: __, ...rest } = line
  return rest
}

function parseBody(bytes: Buffer): unknown {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    if (nestsTooDeeply(text)) throw new SyntaxError(tooDeepMessage)
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError('invalid_json', 'body_ref: the blob is not JSON in UTF-8', { param: 'body_ref', cause })
  }
}

const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex')
