import { isTerminal } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { RowPatch } from '@sluice/storage'
import { storeIfLarge } from './content.ts'
import type { Context } from './context.ts'
import type { HeldClaim } from './held-claim.ts'
import { insist } from './insist.ts'
import type { FinishInput } from './ledger-types.ts'
import { resultOf } from './result-of.ts'
import type { Row } from './row.ts'
import { finishPatch, giveBackPatch, parkPatch } from './transitions.ts'

/** Stores the result and ends the claim; see Ledger.finish. */
export async function finish(context: Context, claim: HeldClaim, outcome: FinishInput): Promise<Row> {
  const { blobs, clock, insistMs } = context
  const { row, fence } = claim
  const response = await insist(clock, insistMs, async () => {
    if (outcome.response?.body === undefined) return outcome.response
    const { body, ...rest } = outcome.response
    const ref = await storeIfLarge(blobs, row, 'results', body)
    return ref === undefined ? outcome.response : { ...rest, body_ref: ref }
  })
  const nowMs = clock.now()
  const result = resultOf(row, { ...outcome, response }, nowMs)
  const ours = (stored: Row) => isTerminal(stored.status) && stored.owner === row.owner
  return endClaim(context, claim, finishPatch(row, fence, result, nowMs), ours)
}

/** running → waiting; see Ledger.park. */
export function park(context: Context, claim: HeldClaim, notBeforeMs: number): Promise<Row> {
  const patch = parkPatch(claim.row, notBeforeMs, context.clock.now())
  return endClaim(context, claim, patch, (stored) => stored.status === 'waiting')
}

/** running → accepted; see Ledger.giveBack. */
export function giveBack(context: Context, claim: HeldClaim): Promise<Row> {
  const patch = giveBackPatch(claim.row, context.clock.now())
  return endClaim(context, claim, patch, (stored) => stored.status === 'accepted')
}

/**
 * The last write of a claim. A refusal is ambiguous after a lost answer: the row itself tells whether an earlier try of
 * this very write came through. Nobody else leaves the row under the same fence, except by requesting a cancellation.
 */
async function endClaim(
  { rows, clock, insistMs }: Context,
  claim: HeldClaim,
  patch: RowPatch,
  ours: (stored: Row) => boolean,
): Promise<Row> {
  claim.settle()
  const outcome = await insist(clock, insistMs, async () => {
    const answer = await rows.patch(patch)
    return answer.kind === 'patched' ? answer : { kind: 'refused' as const, row: await rows.read(patch.id, patch.key) }
  })
  const { kind, row: stored } = outcome
  if (kind === 'patched' || (stored?.fence === claim.fence && ours(stored))) {
    claim.release()
    return stored
  }
  if (stored?.fence === claim.fence && stored.status === 'cancel_requested') {
    throw new AppError('cancelled', 'The caller cancelled the request: finish it as cancelled.')
  }
  throw claim.lost()
}
