import type { Clock, Timer } from '@sluice/resilience'
import type { DeploymentState, Quota } from './admission-types.ts'

const refreshMs = 1_000
// Nobody reserves: then nobody balances either, and Redis is left alone.
const idleMs = 30_000

/**
 * What one worker knows about the deployments without asking: everything as of the last refresh, a second ago at most
 * while it reserves, and the tokens and slots as of its own last grant.
 */
export class DeploymentView {
  readonly #look: (quotas: readonly Quota[]) => Promise<DeploymentState[]>
  readonly #clock: Clock
  readonly #quotas = new Map<string, Quota>()
  readonly #states = new Map<string, DeploymentState>()
  #lastUse = 0
  #timer: Timer | undefined
  #closed = false

  /** @param look asks Redis */
  constructor(look: (quotas: readonly Quota[]) => Promise<DeploymentState[]>, clock: Clock) {
    this.#look = look
    this.#clock = clock
  }

  get states(): ReadonlyMap<string, DeploymentState> {
    return this.#states
  }

  /** Deployments that somebody wants to use. */
  used(quotas: readonly Quota[]): void {
    for (const quota of quotas) this.#quotas.set(quota.name, quota)
    this.#lastUse = this.#clock.monotonic()
    if (this.#timer === undefined) this.#arm(0)
  }

  granted(deployment: string, usedTokens: number, slotsInUse: number): void {
    const state = this.#states.get(deployment)
    if (state !== undefined) Object.assign(state, { usedTokens, slotsInUse })
  }

  /** From 0 to 1; 0 for a deployment of which nothing is known. */
  utilisation(name: string): number {
    const state = this.#states.get(name)
    if (state === undefined) return 0
    if (state.breaker === 'open' || state.drained !== undefined || state.coolForMs > 0) return 1
    const slots = state.concurrencyLimit === undefined ? 0 : state.slotsInUse / state.concurrencyLimit
    return Math.min(1, Math.max(state.usedTokens / state.tokensPerMinute, slots))
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #arm(ms: number): void {
    if (this.#closed) return
    this.#timer = this.#clock.setTimeout(() => void this.#refresh(), ms)
  }

  async #refresh(): Promise<void> {
    try {
      for (const state of await this.#look([...this.#quotas.values()])) {
        this.#states.set(state.deployment, state)
      }
    } catch {
      // The next reservation finds out that Redis is away, and says so; until then the last view serves.
    }
    this.#timer = undefined
    if (this.#clock.monotonic() - this.#lastUse < idleMs) this.#arm(refreshMs)
  }
}
