import { type Admission, type Grant, quotaOf, type TenantShare } from '@sluice/admission'
import type { Deployment } from '@sluice/contracts'
import { AppError, toAppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import type { WebSocket } from 'ws'
import { dial } from './dial.ts'
import type { Handshake } from './handshake.ts'

export interface UpstreamDeps {
  admission: Admission
  apiKeyOf: (deployment: Deployment) => string | Promise<string>
  clock: Clock
}

/** An open session upstream, and the slots that it holds until `end`. */
export interface Upstream {
  socket: WebSocket
  deployment: Deployment
  /** Gives the slots back. Idempotent. */
  end: Grant['end']
  handshakeMs: number
}

// A session's tokens are not known when it opens. One stands for the call itself; the provider counts the rest.
const sessionTokens = 1

/**
 * Reserves a slot and dials, going on to the next deployment when one is away.
 * @param token an ephemeral token of the only candidate, used instead of its key
 * @throws AppError `no_capacity`, or the last deployment's refusal; the signal's reason
 */
export async function openUpstream(
  { admission, apiKeyOf, clock }: UpstreamDeps,
  candidates: readonly Deployment[],
  handshake: Handshake,
  caller: { shares: readonly TenantShare[]; token?: string | undefined },
  signal: AbortSignal,
): Promise<Upstream> {
  let left = [...candidates]
  let refusal: AppError | undefined
  while (left.length > 0) {
    const room = await admission.reserve({
      candidates: left.map(quotaOf),
      tenant: caller.shares,
      tokens: sessionTokens,
      priority: 'interactive',
      signal,
    })
    if (room.kind !== 'granted') throw refusal ?? full(room)
    const deployment = left.find(({ name }) => name === room.deployment) as Deployment
    const started = clock.monotonic()
    try {
      const credential = caller.token === undefined ? { key: await apiKeyOf(deployment) } : { token: caller.token }
      const socket = await dial(deployment, credential, handshake, signal)
      const handshakeMs = clock.monotonic() - started
      return { socket, deployment, handshakeMs, end: (call) => room.end(call) }
    } catch (thrown) {
      const error = toAppError(thrown)
      const { retryAfterMs } = error
      room.end({
        outcome: signal.aborted ? 'aborted' : error.code,
        ms: clock.monotonic() - started,
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      })
      signal.throwIfAborted()
      if (error.disposition !== 'fail_over') throw error
      refusal = error
      left = left.filter((one) => one !== deployment)
    }
  }
  throw refusal ?? new AppError('no_route', 'No deployment serves realtime.', { param: 'model' })
}

function full(room: { kind: 'later'; afterMs: number } | { kind: 'never' }): AppError {
  return new AppError('no_capacity', 'Every realtime deployment that may take this session is full.', {
    retryAfterMs: room.kind === 'later' ? room.afterMs : 60_000,
  })
}
