import type { AmqpEmulatorOptions } from '@sluice/emulator-amqp'

type Clock = NonNullable<AmqpEmulatorOptions['clock']>
type Timer = { atMs: number; run: () => void; handle: NodeJS.Timeout }

/** Runs with real time, and can jump ahead: what falls due in between runs at once. */
export class SkippingClock implements Clock {
  #aheadMs = 0
  readonly #timers = new Set<Timer>()

  now = (): number => Date.now() + this.#aheadMs

  after(delayMs: number, run: () => void): () => void {
    const timer: Timer = { atMs: this.now() + delayMs, run, handle: this.#arm(delayMs, () => fire()) }
    const fire = (): void => {
      if (this.#timers.delete(timer)) run()
    }
    this.#timers.add(timer)
    return () => {
      clearTimeout(timer.handle)
      this.#timers.delete(timer)
    }
  }

  /** Jumps ahead and lets the timers that fell due run. */
  async skip(durationMs: number): Promise<void> {
    this.#aheadMs += durationMs
    for (const timer of [...this.#timers].sort((a, b) => a.atMs - b.atMs)) {
      clearTimeout(timer.handle)
      const leftMs = timer.atMs - this.now()
      if (leftMs > 0) timer.handle = this.#arm(leftMs, () => this.#timers.delete(timer) && timer.run())
      else if (this.#timers.delete(timer)) timer.run()
    }
    await new Promise((resolve) => setImmediate(resolve))
  }

  #arm(delayMs: number, run: () => void): NodeJS.Timeout {
    return setTimeout(run, Math.min(Math.max(delayMs, 0), 2 ** 31 - 1))
  }
}
