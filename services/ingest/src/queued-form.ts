import { createHash, randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { FileRef } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Blobs } from '@sluice/storage'
import type { FastifyRequest } from 'fastify'
import { receiveFile } from './batches/receive-file.ts'
import type { HeldBodies } from './held-bodies.ts'
import { tooLarge } from './openai-body.ts'

/** A multipart body as a line holds it. */
export interface QueuedForm {
  /** The fields but for `sluice`; `name[]` are lists, and `stream` is a boolean. */
  body: Record<string, unknown>
  /** The field of that name, a JSON text, as its value. */
  sluice: unknown
  /** The file's claim check: stored under a name of its own, whoever sends it again. */
  file: FileRef
}

interface QueuedFormDeps {
  blobs: Blobs
  bodies: HeldBodies
  /** Bytes of the whole body. */
  formLimit: number
}

/**
 * Stores the file of a multipart body while it arrives, a mebibyte in memory at a time. A body that is refused leaves
 * nothing behind: a blob is there when it is closed, and not before.
 * @throws AppError `unsupported_media_type`, `message_too_large`, `invalid_line` naming the field, `storage_unavailable`,
 * `no_capacity` when too much is held already
 */
export async function receiveQueuedForm(
  { blobs, bodies, formLimit: limit }: QueuedFormDeps,
  tenant: string,
  request: FastifyRequest,
): Promise<QueuedForm> {
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge(limit)
  let stored: FileRef | undefined
  try {
    const { used: file, pairs } = await receiveFile(
      request,
      { bodies, tenant },
      async ({ filename, contentType, content }) => {
        // Providers read the format off the name's ending, so a name that is not there is not made up.
        const named = { filename: printable(filename), contentType: printable(contentType) }
        return (stored = await store(blobs, tenant, named, content, limit))
      },
    )
    const { sluice, ...body } = fieldsOf(pairs)
    return { body, sluice: optionsOf(sluice), file }
  } catch (error) {
    // What follows the file may be at fault.
    if (stored !== undefined) await dropFile(blobs, tenant, stored)
    throw error
  }
}

/** Deletes a file that no request refers to; where storage is away the container's lifecycle rule does. */
export const dropFile = (blobs: Blobs, tenant: string, { blob }: FileRef): Promise<void> =>
  blobs.remove(tenant, blob).catch(() => undefined)

async function store(
  blobs: Blobs,
  tenant: string,
  { filename, contentType }: { filename: string; contentType: string },
  content: Readable,
  limit: number,
): Promise<FileRef> {
  const path = `requests/files/${randomUUID()}`
  const writer = blobs.writer(tenant, path, contentType)
  const hash = createHash('sha256')
  let size = 0
  for await (const chunk of content as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > limit) throw tooLarge(limit)
    hash.update(chunk)
    await writer.write(chunk)
  }
  if (size === 0) throw new AppError('invalid_line', 'file: it is empty', { param: 'file' })
  await writer.close()
  const sha256 = hash.digest('hex')
  const named = filename === '' ? {} : { filename }
  return { blob: `${tenant}/${path}`, sha256, bytes: size, content_type: contentType.slice(0, 256), ...named }
}

function fieldsOf(pairs: readonly [name: string, value: string][]): Record<string, unknown> {
  const fields = new Map<string, unknown>()
  for (const [name, value] of pairs) {
    const list = /^(.+)\[\]$/.exec(name)?.[1]
    const known = fields.get(list ?? name)
    if (list === undefined && known !== undefined) {
      throw new AppError('invalid_line', `${name}: given twice`, { param: name })
    }
    fields.set(list ?? name, list === undefined ? value : [...(Array.isArray(known) ? known : []), value])
  }
  const stream = fields.get('stream')
  if (stream === 'true' || stream === 'false') fields.set('stream', stream === 'true')
  if (fields.get('model') === '') fields.delete('model')
  return Object.fromEntries(fields)
}

function optionsOf(text: unknown): unknown {
  if (typeof text !== 'string') return undefined
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError('invalid_line', 'sluice: expected JSON', { param: 'sluice', cause })
  }
}

// They become headers of the part that a deployment is sent.
const printable = (text: string): string => text.replace(/\p{Cc}/gu, '_')
