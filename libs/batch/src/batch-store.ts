import type { Clock } from '@sluice/resilience'
import { type Condition, condition, type Cosmos } from '@sluice/storage'
import { batchMoves, type BatchRow, partMoves, type PartRow } from './batch-row.ts'

export type AnyRow = BatchRow | PartRow
/** Names a row for whoever is to look at it. */
export interface RowRef {
  tenant: string
  batch: string
  id: string
}

/** The row went on under somebody else's fence: touch nothing. */
export class FenceLost extends Error {
  override readonly name = 'FenceLost'
}

const pageSize = 500

export type BatchStore = ReturnType<typeof createBatchStore>

/** The rows of batches and parts; each write is one arrow of the state machine in batch-row.ts. */
export function createBatchStore({ cosmos, clock }: { cosmos: Cosmos; clock: Clock }) {
  const rows = cosmos.rows<AnyRow>('batches')
  const iso = (ms = clock.now()) => new Date(ms).toISOString()
  const patch = async <R extends AnyRow>(row: R, when: Condition, set: object, fence = 0): Promise<R | undefined> => {
    const fields = Object.entries({ ...set, updated_at: iso() })
    const outcome = await rows.patch({
      id: row.id,
      key: [row.tenant, row.batch],
      when,
      operations: [
        ...fields.map(([name, value]) => ({ op: 'set' as const, path: `/${name}`, value: value as unknown })),
        ...(fence === 0 ? [] : [{ op: 'incr' as const, path: '/fence', value: fence }]),
      ],
    })
    return outcome.kind === 'patched' ? (outcome.row as R) : undefined
  }

  return {
    iso,
    /** @returns false when a row of that id is there: whoever creates it twice creates the same. */
    create: (row: AnyRow): Promise<boolean> => rows.create(row),
    get: ({ tenant, batch, id }: RowRef): Promise<AnyRow | undefined> => rows.read(id, [tenant, batch]),
    async getBatch(tenant: string, id: string): Promise<BatchRow | undefined> {
      return (await rows.read(id, [tenant, id])) as BatchRow | undefined
    },
    /** All parts of a batch, in the order of their ids. */
    async parts(tenant: string, batch: string): Promise<PartRow[]> {
      const found: PartRow[] = []
      for (let after = ''; ; after = found.at(-1)?.id ?? after) {
        const page = await rows.query<PartRow>({
          sql: `SELECT * FROM c WHERE c.tenant = @tenant AND c.batch = @batch AND c.kind = 'part' AND c.id > @after ORDER BY c.id ASC`,
          parameters: { tenant, batch, after },
          limit: pageSize,
        })
        found.push(...page)
        if (page.length < pageSize) return found
      }
    },
    /** A tenant's batches, the newest first, after the one given. */
    list: (tenant: string, limit: number, after?: { created_at: string; id: string }): Promise<BatchRow[]> =>
      rows.query<BatchRow>({
        sql:
          `SELECT * FROM c WHERE c.tenant = @tenant AND c.kind = 'batch' ` +
          (after === undefined ? '' : 'AND (c.created_at < @at OR (c.created_at = @at AND c.id < @id)) ') +
          'ORDER BY c.tenant ASC, c.created_at DESC, c.id DESC',
        parameters: { tenant, ...(after === undefined ? {} : { at: after.created_at, id: after.id }) },
        limit,
      }),
    /** A batch that has not laid out its input file yet, and so still needs it: its id. */
    async reads(tenant: string, file: string): Promise<string | undefined> {
      const [found] = await rows.query<{ id: string }>({
        sql:
          `SELECT c.id FROM c WHERE c.tenant = @tenant AND c.kind = 'batch' AND c.open = true ` +
          `AND c.status = 'validating' AND c.input_file_id = @file`,
        parameters: { tenant, file },
        limit: 1,
      })
      return found?.id
    },
    /** Rows that somebody must look at now, the longest overdue first. */
    due: (limit: number): Promise<RowRef[]> =>
      rows.query<RowRef>({
        sql: 'SELECT c.tenant, c.batch, c.id FROM c WHERE c.open = true AND c.due_at <= @now ORDER BY c.due_at ASC',
        parameters: { now: iso() },
        limit,
      }),
    /** Parts whose tokens count against a deployment, of all tenants. */
    holding: (): Promise<{ id: string; tokens: number; regional: { deployment: string } }[]> =>
      rows.query({ sql: 'SELECT c.id, c.tokens, c.regional FROM c WHERE c.holds = true', limit: 10_000 }),
    /** Takes the fence of the row as it was seen. @returns undefined when somebody else was faster */
    claim: <R extends AnyRow>(seen: R, owner: string, leaseMs: number): Promise<R | undefined> =>
      patch(
        seen,
        condition`c.fence = ${seen.fence} AND c.status = ${seen.status} AND c.open = true`,
        { owner, due_at: iso(clock.now() + leaseMs) },
        1,
      ),
    /** Shows that the holder is alive. @throws FenceLost */
    async renew(row: AnyRow, leaseMs: number): Promise<void> {
      if (!(await patch(row, condition`c.fence = ${row.fence}`, { due_at: iso(clock.now() + leaseMs) })))
        throw new FenceLost(row.id)
    },
    /** Moves the row, or only notes something when `to` is its own status. @throws FenceLost, TypeError for no arrow */
    async move<R extends AnyRow>(row: R, to: R['status'], set: Partial<R> = {}): Promise<R> {
      const moves: readonly string[] = row.kind === 'batch' ? batchMoves[row.status] : partMoves[row.status]
      if (to !== row.status && !moves.includes(to)) throw new TypeError(`no arrow from ${row.status} to ${to}`)
      const times = row.kind === 'batch' && to !== row.status ? { times: { ...row.times, [to]: iso() } } : {}
      const moved = await patch(row, condition`c.fence = ${row.fence} AND c.status = ${row.status}`, {
        status: to,
        ...times,
        ...set,
      })
      if (moved === undefined) throw new FenceLost(row.id)
      return moved
    },
    /** What an abandoned part turned out to have cost. */
    async addWaste({ tenant, batch }: PartRow, wasteUsd: number): Promise<void> {
      await rows.patch({
        id: batch,
        key: [tenant, batch],
        operations: [{ op: 'incr', path: '/abandoned_waste_usd', value: wasteUsd }],
      })
    },
    /** Asks that somebody looks at an open row now; whoever holds it goes on. */
    async poke(row: Pick<AnyRow, 'tenant' | 'batch'>, id: string): Promise<void> {
      await rows.patch({
        id,
        key: [row.tenant, row.batch],
        when: condition`c.open = true`,
        operations: [{ op: 'set', path: '/due_at', value: iso() }],
      })
    },
  }
}
