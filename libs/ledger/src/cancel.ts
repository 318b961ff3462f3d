import { isTerminal } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Context } from './context.ts'
import { resultOf, unrun } from './result-of.ts'
import type { Row } from './row.ts'
import { endUnownedPatch, requestCancelPatch } from './transitions.ts'

const maxRounds = 5

/** See Ledger.cancel. */
export async function cancel({ rows, clock }: Context, tenant: string, id: string): Promise<Row> {
  for (let round = 1; round <= maxRounds; round++) {
    const row = await rows.read(id, [tenant, id])
    if (row === undefined) throw new AppError('not_found', `There is no request ${id}.`, { param: 'id' })
    if (isTerminal(row.status) || row.status === 'cancel_requested') return row
    const nowMs = clock.now()
    const outcome = await rows.patch(
      row.status === 'running'
        ? requestCancelPatch(row, nowMs)
        : endUnownedPatch(row, resultOf(row, unrun('cancelled'), nowMs), nowMs),
    )
    if (outcome.kind === 'patched') return outcome.row
  }
  throw new AppError('storage_unavailable', `${id} changed ${maxRounds} times while it was cancelled.`)
}
