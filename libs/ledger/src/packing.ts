import { isTerminal } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { rowOf } from './arrive.ts'
import { storeBody } from './content.ts'
import type { Context } from './context.ts'
import type { Packing } from './ledger-types.ts'
import { resultOf } from './result-of.ts'
import type { Row } from './row.ts'
import { storeResponse } from './settling.ts'
import { finishPackedPatch, gatherPatch, unpackPatch } from './transitions.ts'

const selected = ['id', 'tenant', 'lane', 'line', 'accepted_at', 'updated_at', 'deadline']
  .map((name) => `c.${name}`)
  .join(', ')

/** See Ledger.packing. */
export function packing(context: Context): Packing {
  const { rows, blobs, clock } = context
  const patched = async (patch: Parameters<typeof rows.patch>[0]): Promise<Row | undefined> => {
    const outcome = await rows.patch(patch)
    return outcome.kind === 'patched' ? outcome.row : undefined
  }
  return {
    async open({ batch, ...arrival }) {
      const bare = rowOf(context, arrival, clock.now())
      const body = await storeBody(blobs, bare, arrival.line)
      const row: Row = { ...bare, ...body, status: 'packing', packed_in: batch }
      if (await rows.create(row)) return row
      const stored = await rows.read(row.id, [row.tenant, row.id])
      if (stored === undefined) throw new AppError('storage_unavailable', `${row.id} exists but cannot be read yet.`)
      return stored
    },
    loose: ({ after, limit }) =>
      rows.query({
        sql:
          `SELECT ${selected} FROM c WHERE c.published = false AND c.status = 'packing' AND c.packed_in = null ` +
          (after === undefined ? '' : 'AND (c.updated_at > @at OR (c.updated_at = @at AND c.id > @id)) ') +
          'ORDER BY c.published ASC, c.updated_at ASC, c.id ASC',
        parameters: after === undefined ? {} : { at: after.updated_at, id: after.id },
        limit,
      }),
    gather: async (row, batch) => (await patched(gatherPatch(row, batch, clock.now()))) !== undefined,
    of: (tenant, batch, { after, limit }) =>
      rows.query({
        sql: 'SELECT * FROM c WHERE c.tenant = @tenant AND c.packed_in = @batch AND c.id > @after ORDER BY c.id ASC',
        parameters: { tenant, batch, after },
        limit,
      }),
    async finish(ref, batch, outcome) {
      const row = await rows.read(ref.id, [ref.tenant, ref.id])
      if (row === undefined || row.packed_in !== batch) return undefined
      // Collected again after a crash: the answer is there, its event perhaps not.
      if (isTerminal(row.status)) return row.published ? undefined : row
      const response = await storeResponse(context, row, outcome.response)
      const nowMs = clock.now()
      return patched(finishPackedPatch(row, batch, resultOf(row, { ...outcome, response }, nowMs), nowMs))
    },
    unpack: (row, batch) => patched(unpackPatch(row, batch, clock.now())),
  }
}
