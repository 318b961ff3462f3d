import type { FileRef, Priority, RequestBody } from '@sluice/contracts'
import { AppError, toAppError } from '@sluice/errors'
import type { Execution, Outcome } from '@sluice/execution'
import type { FinishInput, Row } from '@sluice/ledger'
import type { Clock } from '@sluice/resilience'
import type { ProgressReport } from './report-progress.ts'
import type { SoloGate } from './solo-gate.ts'

/** Crashes after which a request runs alone, and after which it fails. */
const aloneAfter = 3
const poisonAfter = 4
/** Tries of a request that every deployment fails: a body that makes its provider answer 500 must not go round for ever. */
const giveUpAfter = 12
const maxPauseMs = 60_000

export interface RunDeps {
  execution: Execution
  gate: SoloGate
  progress: Pick<ProgressReport, 'started'>
  /** A claim check's bytes, see Blobs.pipe. */
  openFile: (tenant: string, ref: FileRef, signal: AbortSignal) => Promise<AsyncIterable<Uint8Array>>
  /** False while this machine's clock cannot be trusted to expire requests. */
  clockTrusted: () => boolean
  clock: Clock
}

/** A request as it is about to run. */
export interface Runnable {
  row: Row
  /** Claims that ended neither in a park nor in a give-back. */
  crashes: number
  /** Times that it was claimed, this one included; read when the run has ended. */
  tries: () => number
  /** Of its lane, for a line that names none. */
  priority: Priority | undefined
  body(): Promise<RequestBody>
  /** Runs when there is room and before each call; what it throws ends the run. */
  beforeCall(): Promise<void> | void
}

type Later = Extract<Outcome, { kind: 'later' }>

export type RunOutcome =
  | {
      kind: 'finish'
      finish: FinishInput
      /** What the log line says of it: no prompt, no answer. */
      log: Record<string, unknown>
      /** The input was at fault after all (a claim check that points nowhere): dead-letter the message too. */
      reject?: AppError
    }
  | { kind: 'later'; afterMs: number; reason: Later['reason'] }

const ended = (status: FinishInput['status'], error: AppError): RunOutcome => ({
  kind: 'finish',
  finish: { status, error: { code: error.code, message: error.message, param: error.param ?? null } },
  log: { code: error.code },
})

/**
 * Runs a request once: poison and deadline are looked at first, then the body is fetched and executed.
 * @throws AppError with a disposition of `retry` or `yield` only; everything else is an outcome.
 */
export async function runRequest(deps: RunDeps, request: Runnable, signal: AbortSignal): Promise<RunOutcome> {
  const { row, crashes } = request
  if (crashes >= poisonAfter) {
    return ended('failed', new AppError('poison', `The request took its worker down ${crashes} times.`))
  }
  const deadline = row.deadline === undefined ? undefined : Date.parse(row.deadline)
  const expired = () => deadline !== undefined && deps.clockTrusted() && deps.clock.now() >= deadline
  if (expired()) return ended('expired', late())

  const leave = await deps.gate.enter(crashes >= aloneAfter, signal)
  try {
    const body = await request.body()
    let onDelta: ReturnType<ProgressReport['started']> | undefined
    const outcome = await deps.execution.run(
      {
        requestId: row.id,
        tenant: row.tenant,
        url: row.line.url ?? '/v1/chat/completions',
        body,
        upload: uploadOf(deps, row),
        options: row.line.sluice,
        priority: request.priority,
        keyLimits: row.key_limits,
        ...(deadline === undefined ? {} : { deadline }),
        traceparent: row.traceparent,
        onAttempt: async () => {
          await request.beforeCall()
          onDelta ??= deps.progress.started(row)
        },
        onDelta: (chunk) => onDelta?.(chunk),
      },
      signal,
    )
    signal.throwIfAborted()
    if (outcome.kind === 'later') return laterOr(deps, outcome, request, deadline)
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

function uploadOf({ openFile }: RunDeps, { tenant, line: { file_ref: ref } }: Row) {
  if (ref === undefined) return undefined
  const { filename = 'file', content_type: contentType } = ref
  return { filename, contentType, open: (signal: AbortSignal) => openFile(tenant, ref, signal) }
}

/** How long to wait, or the end of a request for which waiting has no point. */
function laterOr(
  { clock, clockTrusted }: RunDeps,
  { afterMs, reason }: Later,
  { tries }: Runnable,
  deadline: number | undefined,
): RunOutcome {
  const failing = reason === 'failing'
  if (failing && tries() >= giveUpAfter) {
    return ended('failed', new AppError('model_unavailable', 'Every deployment that may answer it kept failing.'))
  }
  // Each pause after a failure is twice as long as the one before.
  const pauseMs = failing ? Math.min(afterMs * 2 ** (tries() - 1), maxPauseMs) : afterMs
  if (deadline !== undefined && clockTrusted() && clock.now() + pauseMs >= deadline) return ended('expired', late())
  return { kind: 'later', afterMs: pauseMs, reason }
}

const late = () => new AppError('deadline_exceeded', 'The deadline passed before an answer was there.')
