import { emptyUsage, type ResultLine, type TerminalStatus } from '@sluice/contracts'
import type { AppError } from '@sluice/errors'
import type { FinishInput } from './ledger-types.ts'
import type { Row } from './row.ts'

/** The result line of a request that ends now. */
export function resultOf(row: Row, outcome: FinishInput, finishedAtMs: number): ResultLine {
  const acceptedMs = Date.parse(row.accepted_at)
  const startedAt = row.first_started_at ?? row.started_at
  const queuedUntilMs = startedAt === undefined ? finishedAtMs : Date.parse(startedAt)
  return {
    id: row.id,
    custom_id: row.line.custom_id,
    response: outcome.response ?? null,
    error: outcome.error ?? null,
    sluice: {
      tenant: row.tenant,
      status: outcome.status,
      decision: outcome.decision ?? null,
      usage: outcome.usage ?? emptyUsage,
      cost_usd: outcome.costUsd ?? 0,
      ...(outcome.wasteUsd ? { waste_usd: outcome.wasteUsd } : {}),
      timings_ms: {
        // Two machines' clocks may disagree by more than a request takes.
        queued: Math.max(0, queuedUntilMs - acceptedMs),
        model: outcome.modelMs ?? 0,
        total: Math.max(0, finishedAtMs - acceptedMs),
      },
    },
  }
}

/** How a request ends that no owner carried to its end. */
export function unrun(status: Extract<TerminalStatus, 'cancelled' | 'expired'>): FinishInput {
  const error =
    status === 'cancelled'
      ? { code: 'cancelled', message: 'The request was cancelled.' }
      : { code: 'deadline_exceeded', message: 'The deadline passed before the request could run.' }
  return { status, error }
}

export function rejected(error: AppError): FinishInput {
  return { status: 'failed', error: { code: error.code, message: error.message, param: error.param ?? null } }
}
