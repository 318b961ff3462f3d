import { Readable } from 'node:stream'
import type { Files } from '@sluice/batch'
import type { PlatformConfig } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Caller } from '../authenticate.ts'
import { clientGone } from '../client-gone.ts'
import type { HeldBodies } from '../held-bodies.ts'
import { readQuery } from '../read-input.ts'
import type { Routes } from '../routes.ts'
import { type Door, doors } from './doors.ts'
import { pageQuery } from './page-query.ts'
import { receiveFile } from './receive-file.ts'

export interface FileRoutesDeps {
  files: Files
  bodies: HeldBodies
  config: PlatformConfig
}

const tag = 'files'
const fileObject = z.looseObject({ id: z.string(), object: z.literal('file'), bytes: z.int(), purpose: z.string() })
const filesQuery = pageQuery.extend({ purpose: z.string().max(64).optional() })

/** OpenAI's file operations, on every door. */
export function fileRoutes(app: FastifyInstance, routes: Routes, deps: FileRoutesDeps): void {
  for (const door of doors) {
    // Uploads are read as they arrive, so that a file of any size takes no memory.
    void app.register(async (scope) => {
      scope.removeAllContentTypeParsers()
      scope.addContentTypeParser('multipart/form-data', (_request, _payload, done) => done(null))
      uploadRoute(routes.within(scope), door, deps)
    })
    readRoutes(routes, door, deps)
  }
}

function uploadRoute(
  routes: Routes,
  { prefix, sticky, documented }: Door,
  { files, bodies, config }: FileRoutesDeps,
): void {
  routes.guarded(
    {
      method: 'POST',
      path: `${prefix}/files`,
      tag,
      summary: sticky ? 'Uploads a batch file and pins it to one region' : 'Uploads a batch file',
      scope: 'submit',
      body: { 'multipart/form-data': z.object({ purpose: z.literal('batch'), file: z.string().describe('the file') }) },
      answers: { 200: { description: 'the file, with the lines that cannot run', schema: fileObject } },
      undocumented: !documented,
    },
    async ({ tenant }, request) => {
      const { used: file, fields } = await receiveFile(
        request,
        { bodies, tenant, lineBytes: config.batch.max_line_bytes },
        ({ filename, content, fields: before }) =>
          // Many clients send the purpose behind the file: until then it is taken for the only one there is.
          files.upload(tenant, content, {
            purpose: before.get('purpose') ?? 'batch',
            filename: filename || 'file.jsonl',
            sticky,
          }),
      )
      const purpose = fields.get('purpose')
      if (purpose === 'batch') return file
      await files.delete(tenant, file.id)
      const said = purpose === undefined ? 'required' : `${JSON.stringify(purpose.slice(0, 64))} is not "batch"`
      throw new AppError('invalid_line', `purpose: ${said}`, { param: 'purpose' })
    },
  )
}

function readRoutes(routes: Routes, { prefix, documented }: Door, { files }: FileRoutesDeps): void {
  const undocumented = !documented
  const one = {
    200: { description: 'the file', schema: fileObject },
    404: { description: 'no such file of this tenant' },
  }
  routes.guarded(
    {
      method: 'GET',
      path: `${prefix}/files`,
      tag,
      summary: 'The files of the tenant, the newest first',
      scope: 'read',
      query: filesQuery,
      answers: {
        200: { description: 'a page', schema: z.object({ data: z.array(fileObject), has_more: z.boolean() }) },
      },
      undocumented,
    },
    async ({ tenant }, request) => {
      const { data, has_more } = await files.list(tenant, readQuery(filesQuery, request))
      return { object: 'list', data, has_more, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null }
    },
  )
  routes.guarded(
    { method: 'GET', path: `${prefix}/files/:id`, tag, summary: 'A file', scope: 'read', answers: one, undocumented },
    async ({ tenant }, request) => files.get(tenant, idOf(request)),
  )
  routes.guarded(
    {
      method: 'DELETE',
      path: `${prefix}/files/:id`,
      tag,
      summary: 'Deletes a file; batches over it that have begun are not affected',
      scope: 'submit',
      answers: {
        200: { description: 'deleted', schema: z.looseObject({ id: z.string(), deleted: z.boolean() }) },
        404: one[404],
        409: { description: 'a batch has yet to read it' },
      },
      undocumented,
    },
    async ({ tenant }, request) => files.delete(tenant, idOf(request)),
  )
  routes.guarded(
    {
      method: 'GET',
      path: `${prefix}/files/:id/content`,
      tag,
      summary: "A file's bytes, from one on with `Range: bytes=N-`",
      scope: 'read',
      headers: z.object({ range: z.string().optional() }),
      answers: {
        200: { description: 'the file', contentType: 'application/jsonl' },
        206: { description: 'its end', contentType: 'application/jsonl' },
        416: { description: 'the file ends before that byte' },
      },
      undocumented,
    },
    async (caller, request, reply) => sendContent(files, caller, request, reply),
  )
}

/** Answers `Range: bytes=N-`, which is what resumes a download; every other range is the whole file, as RFC 9110 allows. */
async function sendContent(
  files: Files,
  { tenant }: Caller,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const asked = Number(/^bytes=(\d{1,15})-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
  const { bytes, stream } = await files.content(tenant, idOf(request), clientGone(reply), (size) => {
    if (asked === 0 || asked < size) return asked
    void reply.header('content-range', `bytes */${size}`)
    throw new AppError('invalid_line', `range: the file has ${size} bytes`, { param: 'Range', status: 416 })
  })
  if (asked > 0) void reply.code(206).header('content-range', `bytes ${asked}-${bytes - 1}/${bytes}`)
  return reply
    .header('accept-ranges', 'bytes')
    .header('content-length', bytes - asked)
    .type('application/jsonl')
    .send(Readable.from(stream, { objectMode: false }))
}

const idOf = (request: FastifyRequest): string => (request.params as { id: string }).id
