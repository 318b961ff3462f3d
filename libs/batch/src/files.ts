import { randomUUID } from 'node:crypto'
import type { LineUrl, PlatformConfig, RequestLine } from '@sluice/contracts'
import { AppError, toAppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import type { Blobs, Cosmos } from '@sluice/storage'
import type { Redis } from 'ioredis'
import type { BatchProblem, FileRow } from './batch-row.ts'
import { batchRoute } from './batch-route.ts'
import { LineChecker } from './check-lines.ts'
import { createBatchStore } from './batch-store.ts'
import { createEnqueued } from './enqueued.ts'
import { fileLines } from './file-lines.ts'
import { createFileStore } from './file-store.ts'
import { pickByHeadroom } from './pick-region.ts'
import { createPins } from './pins.ts'
import { createRegionHealth } from './region-health.ts'

/** OpenAI's file object; `sluice` says what became of its lines. */
export interface FileObject {
  id: string
  object: 'file'
  bytes: number
  created_at: number
  filename: string
  purpose: string
  status: 'processed'
  status_details: string | null
  sluice: {
    lines: number
    rejected: number
    /** The url that all its lines name. */
    endpoint?: LineUrl
    /** The first rejected lines; the others are in the error file of each batch. */
    errors: BatchProblem[]
    region?: string
  }
}

export interface UploadOptions {
  purpose: string
  filename: string
  /** Pins the file to one region, and with it every batch over it. */
  sticky?: boolean
}

export interface Files {
  /**
   * Stores a batch file as it comes in and checks each line on the way; at most a block and a line are in memory.
   * Lines that cannot run are reported and do not hinder the others.
   * @throws AppError `invalid_line` for a wrong purpose (param `purpose`), an empty file, or one in which no line can run
   * (param `file`; the message names the first line at fault), `message_too_large`, `no_route`, `storage_unavailable`
   */
  upload(
    tenant: string,
    content: AsyncIterable<Uint8Array>,
    options: UploadOptions,
    signal?: AbortSignal,
  ): Promise<FileObject>
  /**
   * A file that lies under the tenant's prefix already, by its whole blob name; the same key gives the same file.
   * @throws AppError `message_too_large`, `body_ref_not_found`, `storage_unavailable`
   */
  adopt(tenant: string, blob: string, key: string, signal?: AbortSignal): Promise<FileObject>
  /** What `adopt` made of that key before. */
  adopted(tenant: string, key: string): Promise<FileObject | undefined>
  /** @throws AppError `not_found`, as for another tenant's file */
  get(tenant: string, id: string): Promise<FileObject>
  /** The newest first. @param after the id of the last file of the page before; @param limit up to 100 */
  list(
    tenant: string,
    page: { limit: number; after?: string | undefined; purpose?: string | undefined },
  ): Promise<{ data: FileObject[]; has_more: boolean }>
  /**
   * The file's bytes as a stream. `from`: from a byte on, at most the last one; asked after the size is known.
   * @throws AppError `not_found`
   */
  content(
    tenant: string,
    id: string,
    signal?: AbortSignal,
    from?: (bytes: number) => number,
  ): Promise<{ bytes: number; stream: AsyncIterable<Uint8Array> }>
  /**
   * Deletes a file, and what it holds unless that lay there before Sluice knew it.
   * @throws AppError `not_found`; `conflict` while a batch still has to read it
   */
  delete(tenant: string, id: string): Promise<{ id: string; object: 'file'; deleted: true }>
}

export interface FilesOptions {
  cosmos: Cosmos
  blobs: Blobs
  platform: PlatformConfig
  clock: Clock
  redis: Redis
}

const shownProblems = 50
/** Of a sticky file, so many different models are looked at to find a region for all of them. */
const modelsSeen = 16

export function createFiles({ cosmos, blobs, platform, clock, redis }: FilesOptions): Files {
  const store = createFileStore({ cosmos })
  const pins = createPins({ redis })
  const health = createRegionHealth({ redis, clock })
  const batchStore = createBatchStore({ cosmos, clock })
  const enqueued = createEnqueued({ redis, store: batchStore })

  const find = async (tenant: string, id: string): Promise<FileRow> => {
    const row = await store.get(tenant, id)
    if (row === undefined) throw new AppError('not_found', `There is no file ${id}.`, { param: 'file_id' })
    return row
  }

  /** Reads a file to its end. */
  const check = async (tenant: string, content: AsyncIterable<Uint8Array>, signal?: AbortSignal) => {
    const checker = new LineChecker(platform, tenant)
    const found = { lines: 0, rejected: 0, problems: [] as BatchProblem[], models: new Map<string, RequestLine>() }
    for await (const line of fileLines(content, platform.batch.max_line_bytes)) {
      signal?.throwIfAborted()
      const checked = checker.check(line)
      if ('problem' in checked) {
        found.rejected++
        if (found.problems.length < shownProblems) found.problems.push(checked.problem)
        continue
      }
      found.lines++
      const model = checked.line.body?.model
      if (model !== undefined && found.models.size < modelsSeen) found.models.set(model, checked.line)
    }
    if (found.lines === 0) {
      const message = found.problems[0]?.message ?? 'The file is empty.'
      throw new AppError('invalid_line', message, { param: 'file' })
    }
    return { ...found, endpoint: checker.endpoint }
  }

  /** A region whose deployments take every model of the file, by headroom. */
  const pinnedRegion = async (models: Map<string, RequestLine>): Promise<string> => {
    const able = [...models.values()].map(({ url, body, sluice = {} }) =>
      body === undefined ? platform.deployments : batchRoute(platform, { url, body, options: sluice }).acceptable,
    )
    const regions = [...new Set(able.flat().map(({ region }) => region))].filter((region) =>
      able.every((deployments) => deployments.some((one) => one.region === region && one.batch !== undefined)),
    )
    const lost = await health.lostOf(regions)
    const candidates = platform.deployments.filter(({ batch }) => batch !== undefined)
    const room = await enqueued.headroom(candidates)
    const roomOf = (region: string) =>
      candidates.filter((one) => one.region === region).reduce((sum, { name }) => sum + (room.get(name) ?? 0), 0)
    const healthy = regions.filter((region) => !lost.has(region))
    const region = pickByHeadroom(healthy, roomOf, 1) ?? healthy[0]
    if (region === undefined) {
      throw new AppError('no_route', 'No healthy region takes batches of all models that the file names.', {
        param: 'file',
      })
    }
    return region
  }

  const save = async (row: FileRow): Promise<FileObject> => {
    if (await store.create(row)) return shown(row)
    return shown(await find(row.tenant, row.id))
  }

  const adopted = async (tenant: string, key: string): Promise<FileObject | undefined> => {
    const row = await store.get(tenant, adoptedId(key))
    return row === undefined ? undefined : shown(row)
  }

  return {
    async upload(tenant, content, { purpose, filename, sticky = false }, signal) {
      if (purpose !== 'batch') {
        throw new AppError(
          'invalid_line',
          `purpose: ${JSON.stringify(purpose.slice(0, 64))}; files are for batches, so it is "batch"`,
          {
            param: 'purpose',
          },
        )
      }
      const id = `file-${randomUUID().replaceAll('-', '')}`
      const path = `files/${id}.jsonl`
      const writer = blobs.writer(tenant, path, 'application/jsonl', signal)
      const counted = bounded(content, platform.batch.max_file_bytes, (chunk) => writer.write(chunk))
      const { lines, rejected, problems, models, endpoint } = await check(tenant, counted, signal)
      const region = sticky ? await pinnedRegion(models) : undefined
      const bytes = await writer.close()
      const file = await save({
        ...{ id, tenant, schema: 1, purpose, filename, bytes, lines, rejected, problems, blob: `${tenant}/${path}` },
        ...(endpoint === undefined ? {} : { endpoint }),
        ...(region === undefined ? {} : { region }),
        created_at: new Date(clock.now()).toISOString(),
      })
      if (region !== undefined) await pins.set(tenant, id, region)
      return file
    },
    adopted,
    async adopt(tenant, blob, key, signal) {
      const known = await adopted(tenant, key)
      if (known !== undefined) return known
      const id = adoptedId(key)
      let bytes = 0
      const count = (chunk: Uint8Array) => void (bytes += chunk.byteLength)
      const counted = bounded(await blobs.open(tenant, blob, signal), platform.batch.max_file_bytes, count)
      const found = await check(tenant, counted, signal).catch((error: unknown) => {
        // Even a file without one good line is a batch whose lines are answered.
        if (toAppError(error).code === 'invalid_line' && bytes > 0) return undefined
        throw error
      })
      const { lines = 0, rejected = 0, problems = [], endpoint } = found ?? {}
      return save({
        ...{ id, tenant, schema: 1, purpose: 'batch', filename: blob.split('/').at(-1) ?? blob, bytes, lines },
        ...{ rejected, problems, blob, adopted: true },
        ...(endpoint === undefined ? {} : { endpoint }),
        created_at: new Date(clock.now()).toISOString(),
      })
    },
    get: async (tenant, id) => shown(await find(tenant, id)),
    async list(tenant, { limit, after, purpose }) {
      const rows = await store.list(tenant, limit + 1, {
        purpose,
        after: after === undefined ? undefined : await find(tenant, after),
      })
      return { data: rows.slice(0, limit).map(shown), has_more: rows.length > limit }
    },
    async content(tenant, id, signal, from = () => 0) {
      const { blob, bytes } = await find(tenant, id)
      return { bytes, stream: await blobs.open(tenant, blob, signal, from(bytes)) }
    },
    async delete(tenant, id) {
      const { blob, adopted: foreign = false } = await find(tenant, id)
      const reader = await batchStore.reads(tenant, id)
      if (reader !== undefined) {
        throw new AppError(
          'conflict',
          `${reader} is still reading the file. Cancel it, or wait until it is in progress.`,
          {
            param: 'file_id',
          },
        )
      }
      await store.remove(tenant, id)
      if (!foreign) await blobs.remove(tenant, blob)
      return { id, object: 'file', deleted: true }
    },
  }
}

const adoptedId = (key: string): string => `file-${key}`

/** Passes the content on up to a limit, and each chunk to `see` before. Of an upload that is given up nothing stays. */
async function* bounded(
  content: AsyncIterable<Uint8Array>,
  maxBytes: number,
  see: (chunk: Uint8Array) => Promise<void> | void,
) {
  let bytes = 0
  for await (const chunk of content) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) {
      throw new AppError('message_too_large', `file: up to ${maxBytes} bytes are taken`, { param: 'file' })
    }
    await see(chunk)
    yield chunk
  }
}

const shown = ({
  id,
  bytes,
  created_at,
  filename,
  purpose,
  lines,
  rejected,
  problems,
  region,
  endpoint,
}: FileRow): FileObject => ({
  ...{ id, object: 'file', bytes, created_at: Math.floor(Date.parse(created_at) / 1000), filename, purpose },
  status: 'processed',
  status_details: rejected === 0 ? null : `${rejected} of ${lines + rejected} lines cannot run`,
  sluice: {
    lines,
    rejected,
    ...(endpoint === undefined ? {} : { endpoint }),
    errors: problems,
    ...(region === undefined ? {} : { region }),
  },
})
