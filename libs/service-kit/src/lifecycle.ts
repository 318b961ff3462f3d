/**
 * A service's states. Each is entered at most once, and `failed` and `stopped` are final.
 *
 *   starting ──► running ──► draining ──► stopped
 *      │            │            │
 *      ├────────────┼──► failed ◄┘
 *      └──► draining            (a signal during the start)
 *
 * starting  opening clients; live, not ready
 * running   taking work; ready when its checks are
 * draining  taking no more work, finishing what it has; live, not ready
 * stopped   everything given back; exit 0
 * failed    could not start, could not drain in time, or met an error that nobody handled; exit 1
 */
export type LifecycleState = 'starting' | 'running' | 'draining' | 'stopped' | 'failed'

const next: Record<LifecycleState, readonly LifecycleState[]> = {
  starting: ['running', 'draining', 'failed'],
  running: ['draining', 'failed'],
  draining: ['stopped', 'failed'],
  stopped: [],
  failed: [],
}

/** The one place where a service's state changes. */
export class Lifecycle {
  #state: LifecycleState = 'starting'
  readonly #entered: (state: LifecycleState) => void

  constructor(entered: (state: LifecycleState) => void = () => {}) {
    this.#entered = entered
  }

  get state(): LifecycleState {
    return this.#state
  }

  /** @returns false, changing nothing, when the state cannot follow the present one */
  enter(state: LifecycleState): boolean {
    if (!next[this.#state].includes(state)) return false
    this.#state = state
    this.#entered(state)
    return true
  }
}
