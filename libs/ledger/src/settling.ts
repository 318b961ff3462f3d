import { isTerminal } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { RowPatch } from '@sluice/storage'
import { storeAnswer } from './content.ts'
import type { Context } from './context.ts'
import type { HeldClaim } from './held-claim.ts'
import { insist } from './insist.ts'
import type { FinishInput, ParkInput } from './ledger-types.ts'
import { resultOf } from './result-of.ts'
import type { Row } from './row.ts'
import { finishPatch, giveBackPatch, packPatch, parkPatch } from './transitions.ts'

/** Stores the result and ends the claim; see Ledger.finish. */
export function finish(context: Context, claim: HeldClaim, outcome: FinishInput): Promise<Row> {
  const { clock, insistMs } = context
  const { row, fence } = claim
  return ending(claim, async () => {
    const response = await insist(clock, insistMs, () => storeResponse(context, row, outcome.response))
    const nowMs = clock.now()
    const result = resultOf(row, { ...outcome, response }, nowMs)
    const ours = (stored: Row) => isTerminal(stored.status) && stored.owner === row.owner
    return write(context, claim, finishPatch(row, fence, result, nowMs), ours)
  })
}

/** running → waiting; see Ledger.park. */
export function park(context: Context, claim: HeldClaim, input: ParkInput): Promise<Row> {
  const patch = parkPatch(claim.row, input, context.clock.now())
  return ending(claim, () => write(context, claim, patch, (stored) => stored.status === 'waiting'))
}

/** running → packing; see Ledger.pack. */
export function pack(context: Context, claim: HeldClaim): Promise<Row> {
  const patch = packPatch(claim.row, context.clock.now())
  return ending(claim, () => write(context, claim, patch, (stored) => stored.status === 'packing'))
}

/** running → accepted; see Ledger.giveBack. */
export function giveBack(context: Context, claim: HeldClaim): Promise<Row> {
  const patch = giveBackPatch(claim.row, context.clock.now())
  return ending(claim, () => write(context, claim, patch, (stored) => stored.status === 'accepted'))
}

export const storeResponse = async ({ blobs }: Context, row: Row, response: FinishInput['response']) =>
  response === undefined || response === null ? response : storeAnswer(blobs, row, response)

/**
 * However the last write of a claim goes, the claim beats no longer: a row that beats on after its owner gave up would
 * be nobody's for ever. Only a cancellation leaves it held, for the owner to finish.
 */
async function ending(claim: HeldClaim, end: () => Promise<Row>): Promise<Row> {
  claim.settle()
  try {
    const row = await end()
    claim.release()
    return row
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'cancelled')) claim.release()
    throw error
  }
}

/**
 * A refusal is ambiguous after a lost answer: the row itself tells whether an earlier try of this very write came
 * through. Nobody else leaves a row under the same fence, except by requesting its cancellation.
 */
async function write(
  { rows, clock, insistMs }: Context,
  claim: HeldClaim,
  patch: RowPatch,
  ours: (stored: Row) => boolean,
): Promise<Row> {
  const { refused, stored } = await insist(clock, insistMs, async () => {
    const answer = await rows.patch(patch)
    if (answer.kind === 'patched') return { refused: false, stored: answer.row }
    return { refused: true, stored: await rows.read(patch.id, patch.key) }
  })
  if (stored?.fence === claim.fence) {
    if (!refused || ours(stored)) return stored
    if (stored.status === 'cancel_requested') {
      throw new AppError('cancelled', 'The caller cancelled the request: finish it as cancelled.')
    }
  }
  throw claim.lost()
}
