import { Busboy, type BusboyHeaders, type BusboyInstance } from '@fastify/busboy'
import { AppError } from '@sluice/errors'
import type { FastifyRequest } from 'fastify'
import type { Readable } from 'node:stream'
import type { HeldBodies } from '../held-bodies.ts'

/** The file of a multipart body while it arrives. */
export interface IncomingFile {
  /** Empty where it was sent without one. */
  filename: string
  contentType: string
  content: Readable
  /** Fields so far; the others follow the file. */
  fields: ReadonlyMap<string, string>
}

interface ReceivedFile<T> {
  used: T
  fields: ReadonlyMap<string, string>
  pairs: readonly [name: string, value: string][]
}

/** Where what is buffered of a file on its way is counted. */
interface FileRoom {
  bodies: HeldBodies
  tenant: string
  /** What `use` holds besides a block of the blob that it writes. */
  lineBytes?: number
}

/** A block of a blob, and what streams and fields hold. */
const bufferedBytes = (1024 + 256) * 1024
const limits = { files: 1, fields: 16, parts: 20, fieldSize: 16 * 1024, fieldNameSize: 100, headerPairs: 20 }

/**
 * Reads a multipart body with one file as it arrives: `use` gets the file as a stream, and nothing of it is kept here.
 * What may be buffered at a time on its way is counted until then.
 * @returns what `use` made of it, and every field, also those behind the file; `pairs` has those given twice twice
 * @throws AppError `unsupported_media_type`, `invalid_line` for what is no such body, `no_capacity` when too much is held
 * already, or what `use` throws
 */
export async function receiveFile<T>(
  request: FastifyRequest,
  { bodies, tenant, lineBytes = 0 }: FileRoom,
  use: (file: IncomingFile) => Promise<T>,
): Promise<ReceivedFile<T>> {
  const held = bodies.open(tenant)
  const declared = Number(request.headers['content-length'] ?? Number.POSITIVE_INFINITY)
  try {
    held.reach(Math.min(declared, bufferedBytes + lineBytes, bodies.limit))
    return await receive(request, use)
  } finally {
    held.free()
  }
}

async function receive<T>(request: FastifyRequest, use: (file: IncomingFile) => Promise<T>): Promise<ReceivedFile<T>> {
  const fields = new Map<string, string>()
  const pairs: [name: string, value: string][] = []
  const parser = parserOf(request)
  let using: Promise<T> | undefined
  let file: Readable | undefined
  try {
    await new Promise<void>((resolve, reject) => {
      const invalid = (message: string) => reject(new AppError('invalid_line', message, { param: 'file' }))
      parser.on('field', (name, value, _nameTruncated, valueTruncated) => {
        if (valueTruncated) return invalid(`${name}: the field is too long`)
        pairs.push([name, value])
        return void fields.set(name, value)
      })
      parser.on('file', (name, content, filename, _encoding, contentType) => {
        if (name !== 'file') {
          content.resume()
          return invalid(`the file must be in the field "file", not ${JSON.stringify(name.slice(0, 64))}`)
        }
        content.on('error', () => {})
        file = content
        using = use({ filename: filename.slice(0, 255), contentType, content, fields })
        using.catch(reject)
        return undefined
      })
      parser.on('filesLimit', () => invalid('one file at a time'))
      parser.on('partsLimit', () => invalid('too many parts'))
      parser.on('fieldsLimit', () => invalid('too many fields'))
      parser.on('error', () => invalid('the multipart body is malformed'))
      parser.on('finish', resolve)
      const early = () => request.raw.complete || invalid('the body ended early')
      request.raw.once('close', early)
      // It may have closed while the caller was being looked up.
      if (request.raw.destroyed) early()
      request.raw.pipe(parser)
    })
  } catch (error) {
    request.raw.unpipe(parser)
    parser.destroy()
    // The parser leaves the file open, and whoever reads it would wait for ever.
    file?.destroy(error as Error)
    await using?.catch(() => {})
    throw error
  }
  if (using === undefined) throw new AppError('invalid_line', 'file: required', { param: 'file' })
  return { used: await using, fields, pairs }
}

function parserOf(request: FastifyRequest): BusboyInstance {
  const type = request.headers['content-type'] ?? ''
  if (!/^multipart\/form-data\b/i.test(type)) {
    throw new AppError('unsupported_media_type', 'Send multipart/form-data.', { param: 'Content-Type' })
  }
  try {
    return new Busboy({ headers: request.headers as BusboyHeaders, limits })
  } catch (cause) {
    throw new AppError('invalid_line', 'Content-Type: a boundary is missing', { param: 'Content-Type', cause })
  }
}
