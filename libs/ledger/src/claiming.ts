import { isTerminal } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { checkSame, rowOf } from './arrive.ts'
import { storeBody } from './content.ts'
import type { Context } from './context.ts'
import { isoTime } from './iso-time.ts'
import type { ClaimInput } from './ledger-types.ts'
import { isHeld, type Row } from './row.ts'
import { claimPatch } from './transitions.ts'

export type Claimed = { kind: 'claimed' | 'finished' | 'owned'; row: Row }

// Each round lost means that somebody else moved the row meanwhile; more than a few is not a race but a bug or a storm.
const maxRounds = 5

/**
 * Becomes the owner of a request, or finds out who is. One write where the guess of `expectExisting` is right.
 * @param claimId names this claim alone: a row that carries it is ours, also when the answer to the write got lost
 */
export async function claimRow(context: Context, input: ClaimInput, claimId: string): Promise<Claimed> {
  const { rows, clock } = context
  const fresh = rowOf(context, input, input.enqueuedAt)
  const key = [fresh.tenant, fresh.id]
  let expectExisting = input.expectExisting
  for (let round = 1; round <= maxRounds; round++) {
    if (!expectExisting) {
      const row = await createRunning(context, fresh, input, claimId)
      if (row !== undefined) return { kind: 'claimed', row }
    }
    const outcome = await rows.patch(claimPatch(fresh, fresh.hash, claimId, clock.now()))
    if (outcome.kind === 'patched') return { kind: 'claimed', row: outcome.row }
    expectExisting = outcome.kind === 'condition_failed'
    const stored = expectExisting ? await rows.read(fresh.id, key) : undefined
    if (stored === undefined) continue
    checkSame(stored, fresh.hash)
    if (isTerminal(stored.status)) return { kind: 'finished', row: stored }
    if (isHeld(stored.status)) return { kind: stored.owner === claimId ? 'claimed' : 'owned', row: stored }
  }
  throw new AppError('storage_unavailable', `${fresh.id} changed hands ${maxRounds} times while it was claimed.`)
}

/** A request that Service Bus brought is accepted and claimed in one write. */
async function createRunning(context: Context, fresh: Row, input: ClaimInput, owner: string) {
  const { rows, blobs, clock } = context
  const now = isoTime(clock.now())
  const row: Row = {
    ...fresh,
    ...(await storeBody(blobs, fresh, input.line)),
    status: 'running',
    fence: 1,
    attempts: 1,
    owner,
    started_at: now,
    updated_at: now,
  }
  return (await rows.create(row)) ? row : undefined
}
