import { isTerminal } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { checkSame, rowOf } from './arrive.ts'
import { storeBody } from './content.ts'
import type { Context } from './context.ts'
import { isoTime } from './iso-time.ts'
import type { ClaimInput } from './ledger-types.ts'
import { isHeld, type Row } from './row.ts'
import { claimPatch, takePatch } from './transitions.ts'

export type Claimed = { kind: 'claimed' | 'finished' | 'owned' | 'waiting'; row: Row }

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
    const outcome = await rows.patch(claimPatch(fresh, fresh.hash, claimId, clock.now(), input.leaveWaiting))
    if (outcome.kind === 'patched') return { kind: 'claimed', row: outcome.row }
    expectExisting = outcome.kind === 'condition_failed'
    const stored = expectExisting ? await rows.read(fresh.id, key) : undefined
    if (stored === undefined) continue
    checkSame(stored, fresh.hash)
    if (input.leaveWaiting === true && stored.status === 'waiting') return { kind: 'waiting', row: stored }
    const found = takenBy(stored, claimId)
    if (found !== undefined) return found
  }
  throw changedHands(fresh.id)
}

/** The same for a request that is known by its id: its turn has come in the parking index. */
export async function takeRow(
  { rows, clock }: Context,
  row: Pick<Row, 'id' | 'tenant'>,
  claimId: string,
): Promise<Claimed | undefined> {
  for (let round = 1; round <= maxRounds; round++) {
    const outcome = await rows.patch(takePatch(row, claimId, clock.now()))
    if (outcome.kind === 'patched') return { kind: 'claimed', row: outcome.row }
    const stored = await rows.read(row.id, [row.tenant, row.id])
    if (stored === undefined) return undefined
    const found = takenBy(stored, claimId)
    if (found !== undefined) return found
  }
  throw changedHands(row.id)
}

function takenBy(stored: Row, claimId: string): Claimed | undefined {
  if (isTerminal(stored.status)) return { kind: 'finished', row: stored }
  // What waits for the Batch API is not for a claim: a message that comes again changes nothing.
  if (stored.status === 'packing') return { kind: 'owned', row: stored }
  if (!isHeld(stored.status)) return undefined
  return { kind: stored.owner === claimId ? 'claimed' : 'owned', row: stored }
}

const changedHands = (id: string) =>
  new AppError('storage_unavailable', `${id} changed hands ${maxRounds} times while it was claimed.`)

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
