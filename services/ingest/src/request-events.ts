import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { isTerminal } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Row } from '@sluice/ledger'
import type { ProgressEntry } from '@sluice/progress'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from './authenticate.ts'
import { clientGone, headersOf } from './client-gone.ts'
import { findRequest, type ReadDeps, shownRequest } from './read-requests.ts'

const heartbeatMs = 15_000
/** Then the stream ends and its client comes back with Last-Event-ID: nothing holds a connection for ever. */
const longestMs = 10 * 60_000
const lookEveryMs = 5_000
const stalledMs = 30_000

/**
 * GET /v1/requests/{id}/events: `queued`, `started`, `delta` and `finished` as server-sent events. Each has the id of
 * its place in the request's progress, from which Last-Event-ID resumes. Whatever Redis lost, the end comes from the
 * ledger: an event that is told from there has no id.
 */
export async function requestEvents(
  deps: ReadDeps,
  caller: Caller,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const lastId = lastEventId(request)
  const row = await findRequest(deps, caller, request)
  const gone = clientGone(reply)
  const over = new AbortController()
  const signal = AbortSignal.any([gone, over.signal, deps.closing, AbortSignal.timeout(longestMs)])
  const leave = deps.watchers.enter(caller.tenant)
  const { raw } = reply.hijack()
  raw.writeHead(200, {
    ...headersOf(reply),
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  })
  raw.write('retry: 1000\n\n')
  const told = new Set<ProgressEntry['kind']>()
  const tell = async (event: ProgressEntry['kind'], data: object, id?: string) => {
    told.add(event)
    const place = id === undefined ? '' : `id: ${id}\n`
    raw.write(`${place}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
    if (raw.writableNeedDrain) await drained(raw, signal)
  }
  const tellEnd = async (ended: Row, id?: string) => {
    if (told.has('finished')) return
    // Marked before the first await: the ledger's view and the stream's may come at the same time.
    told.add('finished')
    await tell('finished', await shownRequest(deps, ended), id)
    over.abort()
  }
  /** What the ledger knows and progress did not tell. */
  const look = async (known?: Row): Promise<void> => {
    const now = known ?? (await deps.ledger.get(row.tenant, row.id))
    if (now === undefined) return
    if (!told.has('queued') && lastId === '0') await tell('queued', { id: now.id, lane: now.lane })
    if (isTerminal(now.status)) return tellEnd(now)
    if (now.status === 'running' && !told.has('started') && lastId === '0') {
      await tell('started', { id: now.id, attempt: now.attempts })
    }
  }

  const heartbeat = setInterval(() => raw.write(': still here\n\n'), heartbeatMs)
  const ledgerLooks = setInterval(() => void look().catch(() => over.abort()), lookEveryMs)
  try {
    // A stream that Redis still has is told from its beginning; without one the ledger speaks at once.
    if (isTerminal(row.status) && !(await deps.progress.has(row.tenant, row.id))) await look(row)
    for await (const { streamId, entry } of deps.progress.read(row.tenant, row.id, lastId, signal)) {
      const { kind, ...data } = entry
      if (!told.has('queued') && kind !== 'queued' && lastId === '0')
        await tell('queued', { id: row.id, lane: row.lane })
      if (kind !== 'finished') await tell(kind, { id: row.id, ...data }, streamId)
      else await tellEnd(await endedRow(deps, row, signal), streamId)
    }
  } catch (error) {
    if (!signal.aborted) deps.logger.warn({ err: error, requestId: row.id }, 'a stream of events broke off')
  } finally {
    clearInterval(heartbeat)
    clearInterval(ledgerLooks)
    leave()
    raw.end()
  }
}

/** The row once its end can be read: a reader may see it a moment later than the worker who wrote it. */
async function endedRow({ ledger }: ReadDeps, row: Row, signal: AbortSignal): Promise<Row> {
  for (;;) {
    const now = await ledger.get(row.tenant, row.id)
    if (now !== undefined && isTerminal(now.status)) return now
    await new Promise((resolve) => setTimeout(resolve, 50))
    signal.throwIfAborted()
  }
}

const drained = (raw: ServerResponse, signal: AbortSignal) =>
  once(raw, 'drain', { signal: AbortSignal.any([signal, AbortSignal.timeout(stalledMs)]) })

function lastEventId(request: FastifyRequest): string {
  const header = request.headers['last-event-id']
  if (header === undefined || header === '') return '0'
  if (typeof header === 'string' && /^\d{1,15}(-\d{1,15})?$/.test(header)) return header
  throw new AppError('invalid_line', 'Last-Event-ID: not an id that this stream gave', { param: 'Last-Event-ID' })
}
