import { AppError } from '@sluice/errors'
import { lineHash, storeBody, withoutBody } from './content.ts'
import type { Context } from './context.ts'
import type { Arrival } from './ledger-types.ts'
import { newRow } from './new-row.ts'
import type { Row } from './row.ts'

/** The row of a request that comes in, not yet stored and without its body. */
export function rowOf(context: Context, arrival: Arrival, acceptedAtMs: number): Row {
  return newRow({
    ...arrival,
    line: withoutBody(arrival.line),
    hash: lineHash(arrival.line),
    acceptedAtMs,
    nowMs: context.clock.now(),
  })
}

/** @throws AppError `idempotency_conflict` unless the stored request is the one that came in */
export function checkSame(row: Row, hash: string): void {
  if (row.hash === hash) return
  throw new AppError('idempotency_conflict', 'The idempotency key was used for a different request before.', {
    param: 'idempotency_key',
  })
}

export async function accept(context: Context, arrival: Arrival): Promise<{ row: Row; created: boolean }> {
  const { rows, blobs, clock } = context
  const bare = rowOf(context, arrival, clock.now())
  const row = { ...bare, ...(await storeBody(blobs, bare, arrival.line)) }
  if (await rows.create(row)) return { row, created: true }
  const stored = await rows.read(row.id, [row.tenant, row.id])
  // Rows are never deleted while a caller may repeat a request, but a replica may lag behind the conflict.
  if (stored === undefined) throw new AppError('storage_unavailable', `${row.id} exists but cannot be read yet.`)
  checkSame(stored, row.hash)
  return { row: stored, created: false }
}
