import { AppError, toAppError } from '@sluice/errors'
import type { Claim, FinishInput } from '@sluice/ledger'
import type { HandlerDeps } from './handle-request.ts'

/** Crashes after which a request runs alone, and after which it fails. */
const aloneAfter = 3
const poisonAfter = 4
/** Tries of a request that every deployment fails: a body that makes its provider answer 500 must not go round for ever. */
const giveUpAfter = 12
const maxPauseMs = 60_000

export type ClaimOutcome =
  | {
      kind: 'finish'
      finish: FinishInput
      /** What the log line says of it: no prompt, no answer. */
      log: Record<string, unknown>
      /** The input was at fault after all (a claim check that points nowhere): dead-letter the message too. */
      reject?: AppError
    }
  | { kind: 'later'; afterMs: number }

const ended = (status: FinishInput['status'], error: AppError): ClaimOutcome => ({
  kind: 'finish',
  finish: { status, error: { code: error.code, message: error.message, param: error.param ?? null } },
  log: { code: error.code },
})

/**
 * Runs a claimed request once: poison and deadline are looked at first, then the body is fetched and executed.
 * @throws AppError with a disposition of `retry` or `yield` only; everything else is an outcome.
 */
export async function runClaim(deps: HandlerDeps, claim: Claim, signal: AbortSignal): Promise<ClaimOutcome> {
  const { row } = claim
  const crashes = row.attempts - 1
  if (crashes >= poisonAfter) {
    return ended('failed', new AppError('poison', `The request took its worker down ${crashes} times.`))
  }
  const deadline = row.deadline === undefined ? undefined : Date.parse(row.deadline)
  const expired = () => deadline !== undefined && deps.clockTrusted() && deps.clock.now() >= deadline
  if (expired()) return ended('expired', late())

  const leave = await deps.gate.enter(crashes >= aloneAfter, signal)
  try {
    const body = await claim.body()
    deps.ledger.callStarted(claim)
    const outcome = await deps.execution.run(
      {
        requestId: row.id,
        tenant: row.tenant,
        url: row.line.url ?? '/v1/chat/completions',
        body,
        options: row.line.sluice ?? {},
        ...(deadline === undefined ? {} : { deadline }),
        traceparent: row.traceparent,
      },
      signal,
    )
    signal.throwIfAborted()
    if (outcome.kind === 'later') {
      const failing = outcome.reason === 'failing'
      if (failing && row.fence >= giveUpAfter) {
        return ended('failed', new AppError('model_unavailable', 'Every deployment that may answer it kept failing.'))
      }
      // The fence counts the tries: each pause after a failure is twice as long as the one before.
      const afterMs = failing ? Math.min(outcome.afterMs * 2 ** (row.fence - 1), maxPauseMs) : outcome.afterMs
      if (deadline !== undefined && deps.clockTrusted() && deps.clock.now() + afterMs >= deadline) {
        return ended('expired', late())
      }
      return { kind: 'later', afterMs }
    }
    const { decision } = outcome
    return {
      kind: 'finish',
      finish: outcome.error?.code === 'deadline_exceeded' ? { ...outcome, status: 'expired' } : outcome,
      log: {
        tier: decision.tier,
        deployment: decision.deployment,
        attempts: decision.attempts.length,
        modelMs: Math.round(outcome.modelMs),
        ...(outcome.error === null ? {} : { code: outcome.error.code }),
      },
    }
  } catch (thrown) {
    const error = toAppError(signal.aborted ? signal.reason : thrown)
    if (error.code === 'cancelled') return ended('cancelled', error)
    if (error.disposition !== 'reject' && error.disposition !== 'fail') throw error
    const outcome = ended('failed', error)
    return outcome.kind === 'finish' && error.disposition === 'reject' ? { ...outcome, reject: error } : outcome
  } finally {
    leave()
  }
}

const late = () => new AppError('deadline_exceeded', 'The deadline passed before an answer was there.')
