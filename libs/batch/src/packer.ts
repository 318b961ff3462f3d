import type { PlatformConfig } from '@sluice/contracts'
import { type Ledger, type PackingRow, rowMessage } from '@sluice/ledger'
import type { Sender } from '@sluice/messaging'
import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import { randomUUID } from 'node:crypto'
import type { BatchRow } from './batch-row.ts'
import type { BatchStore } from './batch-store.ts'
import { WorkWindow } from './work-window.ts'

export interface Packer {
  /**
   * One look at the requests that wait for the Batch API: what is enough, or has waited long enough, becomes a batch;
   * what has no time left for one goes to its lane.
   * @throws AppError `storage_unavailable`
   */
  packOnce(): Promise<{ batches: number; packed: number; unpacked: number }>
}

interface PackerOptions {
  ledger: Ledger
  store: BatchStore
  platform: PlatformConfig
  clock: Clock
  logger: Logger
  lanes: ReadonlyMap<string, Pick<Sender, 'send'>>
}

const pageSize = 500
/** Rows looked at in one round; the others have their turn in the next. */
const maxRows = 50_000
const inFlight = 64
/** A batch is planned by whoever finds it due: late enough that the one that gathers its rows is through by then. */
const gatherMs = 60_000

/**
 * Gathers requests that are `packing`. The batch's row is written first, then its requests are taken into it one by one,
 * each with a patch that only one packer gets through; a packer that dies in between leaves a smaller batch.
 */
export function createPacker({ ledger, store, platform, clock, logger, lanes }: PackerOptions): Packer {
  const { packer: limits, online_before_ms: onlineBeforeMs } = platform.batch

  const unpack = async (rows: PackingRow[]): Promise<number> => {
    let count = 0
    const window = new WorkWindow(inFlight)
    for (const seen of rows) {
      await window.add(async () => {
        const row = await ledger.packing.unpack(seen, null)
        if (row === undefined) return
        count++
        await lanes.get(row.lane)?.send(rowMessage(row))
      })
    }
    await window.end()
    return count
  }

  const gather = async (rows: PackingRow[]): Promise<number> => {
    const [first] = rows
    if (first?.line.url === undefined) return 0
    const { tenant } = first
    const id = `batch_${randomUUID().replaceAll('-', '')}`
    const at = store.iso()
    const deadlines = rows.flatMap(({ deadline }) => deadline ?? [])
    const batch: BatchRow = {
      ...{ id, tenant, batch: id, schema: 1, kind: 'batch', status: 'validating', fence: 0, owner: null, open: true },
      ...{
        due_at: store.iso(clock.now() + gatherMs),
        created_at: at,
        updated_at: at,
        mode: 'standard',
        source: 'rows',
      },
      ...{ per_line: true, endpoint: first.line.url, completion_window: '24h', metadata: null },
      deadline: deadlines.sort()[0] ?? store.iso(clock.now() + dayMs),
      lines: { total: rows.length, rejected: 0 },
      ...{ times: { validating: at }, problems: [], abandoned_waste_usd: 0, events: ['created'], progress: 0 },
    }
    await store.create(batch)
    let count = 0
    const window = new WorkWindow(inFlight)
    for (const row of rows) {
      await window.add(async () => {
        if (await ledger.packing.gather(row, id)) count++
      })
    }
    await window.end()
    await store.poke(batch, id)
    logger.info({ batch: id, tenant, lines: count }, 'requests were gathered into a batch')
    return count
  }

  return {
    async packOnce() {
      const nowMs = clock.now()
      const groups = new Map<string, PackingRow[]>()
      const late: PackingRow[] = []
      for (let looked = 0, after: PackingRow | undefined; looked < maxRows; looked += pageSize) {
        const page = await ledger.packing.loose({ after, limit: pageSize })
        for (const row of page) {
          if (row.deadline !== undefined && Date.parse(row.deadline) - onlineBeforeMs <= nowMs) late.push(row)
          else add(groups, row)
        }
        after = page.at(-1)
        if (page.length < pageSize) break
      }
      const done = { batches: 0, packed: 0, unpacked: await unpack(late) }
      for (const rows of groups.values()) {
        for (let from = 0; from < rows.length; from += limits.max_lines) {
          const lines = rows.slice(from, from + limits.max_lines)
          const oldest = Math.min(...lines.map(({ updated_at }) => Date.parse(updated_at)))
          if (lines.length < limits.max_lines && nowMs - oldest < limits.max_wait_ms) continue
          done.packed += await gather(lines)
          done.batches++
        }
      }
      return done
    },
  }
}

const dayMs = 24 * 3_600_000

/** Together goes what one tenant asks of one url, with deadlines in the same hour: the nearest one counts for all. */
function add(groups: Map<string, PackingRow[]>, row: PackingRow): void {
  const hour = row.deadline === undefined ? '' : row.deadline.slice(0, 13)
  const key = `${row.tenant} ${row.line.url ?? ''} ${hour}`
  const group = groups.get(key)
  if (group === undefined) groups.set(key, [row])
  else group.push(row)
}
