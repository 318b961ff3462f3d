import type { RequestBody } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Timer } from '@sluice/resilience'
import { loadBody } from './content.ts'
import type { Context } from './context.ts'
import type { Claim } from './ledger-types.ts'
import type { Row } from './row.ts'
import { beatPatch } from './transitions.ts'

/**
 * A claim while it is held. It beats every `beatMs`, so a request that ends sooner costs no beat at all.
 *
 * States: held → settling → released, or held → released. While settling (its last write is under way) it goes on
 * beating, lest a slow write look like a dead owner, but aborts nothing any more: that write's own condition tells who
 * won.
 */
export class HeldClaim implements Claim {
  readonly row: Row
  readonly #context: Context
  readonly #abort = new AbortController()
  readonly #onRelease: (claim: HeldClaim) => void
  #state: 'held' | 'settling' | 'released' = 'held'
  #timer: Timer
  #body: Promise<RequestBody> | undefined
  #called = false

  constructor(context: Context, row: Row, onRelease: (claim: HeldClaim) => void) {
    this.#context = context
    this.row = row
    this.#onRelease = onRelease
    this.#timer = this.#beatAfter(context.beatMs)
  }

  get fence(): number {
    return this.row.fence
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  body(): Promise<RequestBody> {
    this.#body ??= loadBody(this.#context.blobs, this.row, this.signal)
    return this.#body
  }

  callStarted(): void {
    this.#called = true
  }

  settle(): void {
    if (this.#state === 'held') this.#state = 'settling'
  }

  release(): void {
    if (this.#state === 'released') return
    this.#state = 'released'
    this.#timer.cancel()
    this.#onRelease(this)
  }

  /** A successor owns the row: stops beating, counts what that may have cost. @returns the error to throw */
  lost(): AppError {
    const error = new AppError('lease_lost', `The request went on without fence ${this.fence}.`)
    if (this.#state === 'released') return error
    this.#context.leasesLost.inc()
    if (this.#called) this.#context.doubleCalls.inc()
    this.#context.logger.warn(
      { requestId: this.row.id, tenant: this.row.tenant, fence: this.fence, called: this.#called },
      'lease lost',
    )
    this.release()
    this.#abort.abort(error)
    return error
  }

  #beatAfter(ms: number): Timer {
    return this.#context.clock.setTimeout(() => void this.#beat(), ms)
  }

  async #beat(): Promise<void> {
    const { rows, clock, beatMs, logger } = this.#context
    let nextMs = beatMs
    try {
      // A beat that hangs must fail in time for another one within the lease.
      const outcome = await rows.patch(beatPatch(this.row, this.fence, clock.now()), AbortSignal.timeout(beatMs))
      if (outcome.kind !== 'patched') {
        if (this.#state === 'held') this.lost()
      } else if (outcome.row.status === 'cancel_requested' && this.#state === 'held') {
        this.#abort.abort(new AppError('cancelled', 'The caller cancelled the request.'))
      }
    } catch (err) {
      // Nobody can take the row over while storage is away, and afterwards sweepers begin to count anew: the owner
      // goes on, and lets the fence decide.
      logger.warn({ err, requestId: this.row.id, tenant: this.row.tenant }, 'beat failed')
      nextMs = Math.min(beatMs, 1_000)
    }
    if (this.#state !== 'released') this.#timer = this.#beatAfter(nextMs)
  }
}
