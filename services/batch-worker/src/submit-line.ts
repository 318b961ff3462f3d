import {
  type BatchSubmission,
  checkDeliverTargets,
  decodeLine,
  type PlatformConfig,
  type RequestLine,
  salvageLine,
} from '@sluice/contracts'
import { AppError, toAppError } from '@sluice/errors'
import { type Ledger, type Outbox, rowMessage } from '@sluice/ledger'
import type { Sender } from '@sluice/messaging'
import type { FileLine } from './file-lines.ts'

export interface LineDeps {
  platform: PlatformConfig
  ledger: Ledger
  outbox: Outbox
  lane: { name: string; sender: Sender }
}

/** What every line of one file shares. */
export interface FileContext {
  tenant: string
  /** The file's own key: with a line's custom id it is that line's key, so that reading the file again repeats nothing. */
  key: string
  defaults: BatchSubmission['sluice']
  traceparent: string | undefined
  enqueuedAt: number
  /** Custom ids met so far, with the line that had them first. */
  seen: Map<string, number>
}

/**
 * Makes a request of a line: its row, then its message on the bulk lane. A line that cannot be one is stored as failed
 * and published, and the others go on.
 * @throws AppError of disposition `retry`: the file is read again later.
 */
export async function submitLine(deps: LineDeps, file: FileContext, line: FileLine): Promise<'accepted' | 'rejected'> {
  let request: RequestLine
  try {
    request = readLine(deps.platform, file, line)
  } catch (thrown) {
    const error = toAppError(thrown)
    if (error.disposition !== 'reject') throw error
    await rejectLine(deps, file, line, error)
    return 'rejected'
  }
  const { row, created } = await deps.ledger.accept({
    tenant: file.tenant,
    key: `${file.key}/${request.custom_id}`,
    line: request,
    lane: deps.lane.name,
    via: 'service-bus',
    traceparent: file.traceparent,
  })
  // A row from an earlier reading has its message, or a sweeper sends it.
  if (created) await deps.lane.sender.send(rowMessage(row))
  return 'accepted'
}

function readLine(platform: PlatformConfig, file: FileContext, line: FileLine): RequestLine {
  if (line.tooLong) throw new AppError('message_too_large', `line ${line.number}: too long`, { param: 'body' })
  const decoded = decodeLine(line.bytes, Number.POSITIVE_INFINITY)
  const first = file.seen.get(decoded.custom_id)
  if (first !== undefined) {
    throw new AppError('invalid_line', `custom_id: line ${first} has the same one`, { param: 'custom_id' })
  }
  file.seen.set(decoded.custom_id, line.number)
  const sluice = { priority: 'bulk' as const, ...file.defaults, ...decoded.sluice }
  if (sluice.tenant !== undefined && sluice.tenant !== file.tenant) {
    throw new AppError('tenant_not_allowed', 'sluice.tenant: not the tenant of the file', { param: 'sluice.tenant' })
  }
  checkDeliverTargets(platform, file.tenant, sluice.deliver)
  return { ...decoded, sluice }
}

async function rejectLine(deps: LineDeps, file: FileContext, line: FileLine, error: AppError): Promise<void> {
  const row = await deps.ledger.reject({
    tenant: file.tenant,
    key: `${file.key}#${line.number}`,
    lane: deps.lane.name,
    via: 'service-bus',
    content: line.bytes,
    customId: salvageLine(line.bytes).custom_id,
    deliver: file.defaults?.deliver,
    enqueuedAt: file.enqueuedAt,
    error: new AppError(error.code, `line ${line.number}: ${error.message}`, {
      ...(error.param === undefined ? {} : { param: error.param }),
    }),
    traceparent: file.traceparent,
  })
  await deps.outbox.publish(row)
}
