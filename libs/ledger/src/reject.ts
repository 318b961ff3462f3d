import { isTerminal } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { checkSame } from './arrive.ts'
import { bytesHash, lineHash, withoutBody } from './content.ts'
import type { Context } from './context.ts'
import { isoTime } from './iso-time.ts'
import type { RejectInput } from './ledger-types.ts'
import { newRow } from './new-row.ts'
import { rejected, resultOf } from './result-of.ts'
import { isUnowned, type Row, type RowLine } from './row.ts'
import { endUnownedPatch } from './transitions.ts'

const maxRounds = 5

/** See Ledger.reject. */
export async function reject({ rows, clock }: Context, input: RejectInput): Promise<Row> {
  const unreadable = input.content instanceof Uint8Array
  const bare = newRow({
    ...input,
    hash: hashOf(input),
    line: unreadable ? salvagedLine(input) : withoutBody(input.content as never),
    acceptedAtMs: input.enqueuedAt,
    nowMs: clock.now(),
  })
  const outcome = rejected(input.error)
  for (let round = 1; round <= maxRounds; round++) {
    const nowMs = clock.now()
    const result = resultOf(bare, outcome, nowMs)
    const row: Row = { ...bare, status: 'failed', fence: 1, result, finished_at: isoTime(nowMs) }
    if (await rows.create(row)) return row
    const stored = await rows.read(row.id, [row.tenant, row.id])
    if (stored === undefined) continue
    checkSame(stored, row.hash)
    if (isTerminal(stored.status) || !isUnowned(stored.status)) return stored
    const ended = await rows.patch(endUnownedPatch(stored, resultOf(stored, outcome, nowMs), nowMs))
    if (ended.kind === 'patched') return ended.row
  }
  throw new AppError('storage_unavailable', `${bare.id} changed ${maxRounds} times while it was rejected.`)
}

const hashOf = ({ content, sentFor }: RejectInput): string => {
  if (sentFor !== undefined) return lineHash(sentFor)
  return content instanceof Uint8Array ? bytesHash(content) : lineHash(content)
}

function salvagedLine({ key, customId, deliver }: RejectInput): RowLine {
  return {
    custom_id: customId ?? key,
    method: 'POST',
    ...(deliver === undefined ? {} : { sluice: { deliver } }),
  }
}
