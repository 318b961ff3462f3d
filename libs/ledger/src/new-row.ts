import type { KeyLimits, RowLine, Row, Via } from './row.ts'
import { isoTime } from './iso-time.ts'
import { requestIdOf } from '@sluice/contracts'

interface Beginning {
  tenant: string
  key: string
  lane: string
  via: Via
  hash: string
  line: RowLine
  acceptedAtMs: number
  nowMs: number
  replyTo?: string | undefined
  replyToSessionId?: string | undefined
  sessionId?: string | undefined
  keyLimits?: KeyLimits | undefined
  traceparent?: string | undefined
}

/** A request's first row: `accepted`, without its body. */
export function newRow(from: Beginning): Row {
  const deadline = from.line.sluice?.deadline
  return {
    id: requestIdOf(from.tenant, from.key),
    tenant: from.tenant,
    schema: 1,
    status: 'accepted',
    fence: 0,
    beat: 0,
    owner: null,
    attempts: 0,
    key: from.key,
    hash: from.hash,
    lane: from.lane,
    line: from.line,
    via: from.via,
    ...(from.replyTo === undefined ? {} : { reply_to: from.replyTo }),
    ...(from.replyToSessionId === undefined ? {} : { reply_to_session_id: from.replyToSessionId }),
    ...(from.sessionId === undefined ? {} : { session_id: from.sessionId }),
    ...(from.keyLimits === undefined ? {} : { key_limits: from.keyLimits }),
    ...(from.traceparent === undefined ? {} : { traceparent: from.traceparent }),
    // A broker whose clock runs ahead of ours must not make a request wait for a negative time.
    accepted_at: isoTime(Math.min(from.acceptedAtMs, from.nowMs)),
    updated_at: isoTime(from.nowMs),
    ...(deadline === undefined ? {} : { deadline: isoTime(Date.parse(deadline)) }),
    published: false,
  }
}
