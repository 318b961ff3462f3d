import type { BrokerContext } from '../broker-context.ts'
import { DeadlineHeap } from '../deadline-heap.ts'
import type { Timer } from '../scheduler.ts'

type Actions = {
  due(sequenceNumber: number): void
  expired(sequenceNumber: number): void
  /** Ends locks that have run out. */
  sweep(now: number): void
  /** When the earliest lock ends. */
  nextDeadline(): number
}

/** Everything timed in one queue: scheduled messages, times to live and locks, behind one timer for the earliest. */
export class QueueDeadlines {
  readonly #context: BrokerContext
  readonly #actions: Actions
  readonly #scheduled = new DeadlineHeap()
  readonly #expiring = new DeadlineHeap()
  #timer: Timer | undefined

  constructor(context: BrokerContext, actions: Actions) {
    this.#context = context
    this.#actions = actions
  }

  schedule(atMs: number, sequenceNumber: number): void {
    this.#scheduled.push(atMs, sequenceNumber)
    this.arm()
  }

  expires(atMs: number, sequenceNumber: number): void {
    this.#expiring.push(atMs, sequenceNumber)
    this.arm()
  }

  /** Makes sure that the timer fires no later than the earliest deadline. */
  arm(): void {
    const earliest = Math.min(this.#scheduled.earliest, this.#expiring.earliest, this.#actions.nextDeadline())
    if (earliest === Infinity || (this.#timer !== undefined && this.#timer.atMs <= earliest)) return
    this.#timer?.cancel()
    this.#timer = this.#context.scheduler.at(earliest, () => {
      this.#timer = undefined
      this.#run(this.#context.clock.now())
      this.arm()
    })
  }

  #run(now: number): void {
    this.#actions.sweep(now)
    while (this.#scheduled.earliest <= now) this.#actions.due(this.#scheduled.pop() ?? 0)
    while (this.#expiring.earliest <= now) this.#actions.expired(this.#expiring.pop() ?? 0)
  }
}
