import { checkLine, type Deployment, requestIdOf, type RequestLine, type Usage } from '@sluice/contracts'
import { AppError, isErrorCode } from '@sluice/errors'
import { type FinishInput, type Ledger, type Outbox, type Row, rowMessage } from '@sluice/ledger'
import type { Sender } from '@sluice/messaging'
import type { Clock } from '@sluice/resilience'
import type { Blobs } from '@sluice/storage'
import { batchCostUsd } from './batch-cost.ts'
import type { BatchRow, Ending, PartRow } from './batch-row.ts'
import type { ResultFields, ResultSink } from './collect-part.ts'
import { fileLines } from './file-lines.ts'
import { Pace } from './pace.ts'
import { bodyOf, indexedLines } from './part-lines.ts'
import { type LineSink, loadPlan, type ManifestLine } from './plan.ts'
import { WorkWindow } from './work-window.ts'

export interface LineRowsOptions {
  clock: Clock
  ledger: Ledger
  outbox: Outbox
  blobs: Blobs
  /** The lanes' senders by name. */
  lanes: ReadonlyMap<string, Pick<Sender, 'send'>>
  /** The lane of lines that came in a file. */
  bulkLane: string
  /** Lines on their way to the ledger at a time. */
  inFlight?: number
}

export type LineRows = ReturnType<typeof createLineRows>

const pageSize = 200
/** A batch's lines go online within this share of the time that is left, and at this rate at least. */
const sendingShare = 0.3
const slowestPerSecond = 50
/** Fewer at a time than elsewhere, because interactive work runs beside it. */
const onlineInFlight = 8
const onlineBurst = 10
/** Between two looks at what has come back while lines are still being sent. */
const lookEveryMs = 5_000

/** Lines as requests of the ledger: those of batches that want an event a line, and all that run online in the end. */
export function createLineRows(options: LineRowsOptions) {
  const { ledger, outbox, blobs, lanes, bulkLane, clock, inFlight = 64 } = options
  const send = async (row: Row): Promise<void> => {
    await lanes.get(row.lane)?.send(rowMessage(row))
  }
  // A result that is stored is published in the end, by a sweeper if not here.
  const publish = (row: Row): Promise<void> => outbox.publish(row).catch(() => undefined)

  const optionsOf = (batch: BatchRow, line: Pick<ManifestLine, 'sluice'>): NonNullable<RequestLine['sluice']> => {
    const options = { priority: 'bulk' as const, ...batch.defaults, ...line.sluice }
    const own = options.deadline === undefined ? Infinity : Date.parse(options.deadline)
    return { ...options, deadline: new Date(Math.min(own, Date.parse(batch.deadline))).toISOString() }
  }

  return {
    /** For planning: gives each line of a file its request, `packing` in the batch. */
    opening(batch: BatchRow): LineSink {
      const window = new WorkWindow(inFlight)
      const { tenant, traceparent } = batch
      return {
        async accepted(line) {
          const key = `${batch.id}/${line.custom_id}`
          const whole = { ...line, sluice: { ...optionsOf(batch, line) } }
          await window.add(async () => {
            await ledger.packing.open({
              ...{ tenant, key, line: whole, lane: bulkLane, via: 'service-bus', batch: batch.id, traceparent },
            })
          })
          return requestIdOf(tenant, key)
        },
        rejected: (index, customId, problem) =>
          window.add(async () => {
            const error = new AppError('invalid_line', problem.message, { param: problem.param ?? '' })
            const row = await ledger.reject({
              ...{ tenant, key: `${batch.id}#${index}`, lane: bulkLane, via: 'service-bus', customId, traceparent },
              content: Buffer.from(`${batch.id}#${index}`),
              deliver: batch.defaults?.deliver,
              enqueuedAt: Date.parse(batch.created_at),
              error: codeOf(problem.code, error),
            })
            await publish(row)
          }),
        end: () => window.end(),
      }
    },

    /** For planning: the lines are requests already. */
    gathered(batch: BatchRow): LineSink {
      return {
        accepted: async (_, row = '') => row,
        async rejected(_index, _customId, { code, message, param }, row = '') {
          const failed = { status: 'failed' as const, error: { code, message, param } }
          const ended = await ledger.packing.finish({ tenant: batch.tenant, id: row }, batch.id, failed)
          if (ended !== undefined) await publish(ended)
        },
        end: async () => undefined,
      }
    },

    /** Finishes the requests of a part's answered lines. `end` tells what was answered elsewhere before: paid twice. */
    async sink(batch: BatchRow, part: PartRow, deployment: Deployment, signal: AbortSignal) {
      const lines = await manifestOf(blobs, batch, part, signal)
      const window = new WorkWindow(inFlight)
      let twiceUsd = 0
      const answered: ResultSink = ({ index, ok, result, usage }) =>
        window.add(async () => {
          const row = lines.get(index)?.row
          if (row === undefined) return
          const outcome = outcomeOf(ok, result, usage, deployment)
          const ended = await ledger.packing.finish({ tenant: batch.tenant, id: row }, batch.id, outcome)
          if (ended !== undefined) await publish(ended)
          // What ended before, a cancellation for instance, is told here too while its event is not out.
          const stored = ended ?? (await ledger.get(batch.tenant, row))
          if (stored?.result?.response?.request_id !== result.response?.request_id) twiceUsd += outcome.costUsd ?? 0
        })
      return { answered, end: () => window.end(), twiceUsd: () => twiceUsd }
    },

    /**
     * Sends a part's lines to their lane as bulk requests, no faster than their deadline asks: a flood would only wait
     * there, and slow down what is urgent. Repeated, it sends none twice that is known to be sent.
     * @param look called every few seconds meanwhile, and waited for
     */
    async sendOnline(batch: BatchRow, part: PartRow, look: () => Promise<void>, signal: AbortSignal): Promise<void> {
      const lines = await manifestOf(blobs, batch, part, signal)
      const window = new WorkWindow(Math.min(onlineInFlight, inFlight))
      const { tenant } = batch
      const leftMs = Math.max(1, Date.parse(batch.deadline) - clock.now())
      // Each part at its share of the rate, because all parts of a batch go at the same time.
      const slowest = (slowestPerSecond * part.lines) / Math.max(part.lines, batch.lines.total)
      const pace = new Pace(clock, Math.max(slowest, part.lines / ((leftMs * sendingShare) / 1_000)), onlineBurst)
      let lookAtMs = clock.monotonic() + lookEveryMs
      for await (const { index, bytes } of indexedLines(await blobs.open(tenant, part.blob, signal))) {
        if (clock.monotonic() >= lookAtMs) {
          await look()
          lookAtMs = clock.monotonic() + lookEveryMs
        }
        const entry = lines.get(index)
        if (entry === undefined) throw new AppError('internal', `${part.id}: line ${index} is not in the manifest.`)
        await window.add(async () => {
          if (entry.row !== undefined) {
            const row = await ledger.packing.unpack({ tenant, id: entry.row }, batch.id)
            if (row === undefined) return
            await pace.next(signal)
            return send(row)
          }
          // Nobody asked for this line's own event: the batch's files have its answer.
          const { deliver: _, ...sluice } = optionsOf(batch, entry)
          // Stored as whoever receives its message will read it: the order of a body's fields is part of what a key
          // stands for.
          const line = checkLine({
            ...{ custom_id: entry.custom_id, method: 'POST', url: part.endpoint, sluice },
            body: { ...bodyOf(bytes), model: entry.model ?? 'auto' },
          })
          const arrival = { tenant, key: onlineKey(batch, index), line, lane: bulkLane, via: 'service-bus' as const }
          const { row, created } = await ledger.accept({ ...arrival, traceparent: batch.traceparent })
          if (!created) return
          await send(row)
          await pace.next(signal)
        })
      }
      await window.end()
    },

    /** The requests of a part's lines in their order, by place and id. */
    async *onlineIds(
      batch: BatchRow,
      part: PartRow,
      signal: AbortSignal,
    ): AsyncGenerator<{ index: number; id: string }> {
      const lines = batch.per_line ? await manifestOf(blobs, batch, part, signal) : undefined
      for await (const { index } of indexedLines(await blobs.open(part.tenant, part.blob, signal))) {
        yield { index, id: lines?.get(index)?.row ?? requestIdOf(batch.tenant, onlineKey(batch, index)) }
      }
    },

    get: (tenant: string, id: string): Promise<Row | undefined> => ledger.get(tenant, id),
    cancel: (tenant: string, id: string): Promise<Row | undefined> => ledger.cancel(tenant, id).catch(() => undefined),

    /**
     * Ends the requests that a file's batch leaves without an answer. Those that the packer gathered go back to their
     * lane: nobody but Sluice chose the batch for them.
     */
    async endRest(batch: BatchRow, ending: Ending): Promise<void> {
      const status = ending === 'completed' ? 'failed' : ending
      const error =
        status === 'cancelled'
          ? { code: 'cancelled', message: 'The batch was cancelled.' }
          : { code: status === 'expired' ? 'deadline_exceeded' : 'internal', message: `The batch ${status}.` }
      for (let after = ''; ;) {
        const page = await ledger.packing.of(batch.tenant, batch.id, { after, limit: pageSize })
        const window = new WorkWindow(inFlight)
        for (const row of page.filter((one) => one.status === 'packing')) {
          await window.add(async () => {
            if (batch.source === 'rows') {
              const loose = await ledger.packing.unpack(row, batch.id)
              return loose === undefined ? undefined : send(loose)
            }
            const ended = await ledger.packing.finish(row, batch.id, { status, error })
            if (ended !== undefined) await publish(ended)
          })
        }
        await window.end()
        after = page.at(-1)?.id ?? after
        if (page.length < pageSize) return
      }
    },

    /** The requests that were taken into a batch, as they are to be planned. */
    async *ofBatch({ tenant, id }: BatchRow): AsyncGenerator<Row> {
      for (let after = ''; ;) {
        const page = await ledger.packing.of(tenant, id, { after, limit: pageSize })
        yield* page.filter(({ status }) => status === 'packing')
        after = page.at(-1)?.id ?? after
        if (page.length < pageSize) return
      }
    },
  }
}

const onlineKey = (batch: BatchRow, index: number): string => `${batch.id}@${index}`

function codeOf(code: string, error: AppError): AppError {
  const options = error.param === undefined || error.param === '' ? {} : { param: error.param }
  return new AppError(isErrorCode(code) ? code : error.code, error.message, options)
}

function outcomeOf(ok: boolean, result: ResultFields, usage: Usage, deployment: Deployment): FinishInput {
  const { tier = null, model, name, region } = deployment
  const error = ok ? null : (result.error ?? { code: 'model_rejected', message: 'The provider refused the line.' })
  return {
    status: ok ? 'succeeded' : 'failed',
    response: result.response,
    error,
    decision: {
      ...{ score: null, tier, model, deployment: name, region, why: 'in a batch', attempts: [] },
      ...{ cache: 'off', escalated: false },
    },
    usage,
    costUsd: batchCostUsd(deployment, usage),
  }
}

/** The manifest's entries for the lines of a part. */
async function manifestOf(
  blobs: Blobs,
  batch: BatchRow,
  part: PartRow,
  signal: AbortSignal,
): Promise<ReadonlyMap<number, ManifestLine>> {
  if (batch.plan === undefined) throw new AppError('internal', `${batch.id} has no plan.`)
  const { manifest } = await loadPlan(blobs, batch.tenant, batch.plan, signal)
  const found = new Map<number, ManifestLine>()
  const wanted = indexedLines(await blobs.open(part.tenant, part.blob, signal))
  let next = await wanted.next()
  let index = 0
  for await (const { bytes } of fileLines(await blobs.open(batch.tenant, manifest, signal), Number.POSITIVE_INFINITY)) {
    if (next.done === true) break
    if (next.value.index === index) {
      found.set(index, JSON.parse(bytes.toString('utf8')) as ManifestLine)
      next = await wanted.next()
    }
    index++
  }
  return found
}
