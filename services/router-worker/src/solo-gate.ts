/**
 * Lets many pass together or one alone. A request that has taken a worker down several times is run alone, so that
 * when it does so again nothing else is taken along and the culprit is certain.
 */
export class SoloGate {
  #together = 0
  #alone = false
  #waiting: { alone: boolean; enter: () => void }[] = []

  /** Resolves once inside; the answer leaves again. A waiting loner holds back whoever comes after it. */
  async enter(alone: boolean, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#waiting.length > 0 || !this.#free(alone)) {
      await new Promise<void>((resolve, reject) => {
        const waiter = { alone, enter: () => (signal.removeEventListener('abort', abort), resolve()) }
        const abort = () => {
          this.#waiting = this.#waiting.filter((other) => other !== waiter)
          this.#admit()
          reject(signal.reason as Error)
        }
        signal.addEventListener('abort', abort, { once: true })
        this.#waiting.push(waiter)
      })
    } else this.#take(alone)
    let left = false
    return () => {
      if (left) return
      left = true
      if (alone) this.#alone = false
      else this.#together--
      this.#admit()
    }
  }

  #free(alone: boolean): boolean {
    return !this.#alone && (!alone || this.#together === 0)
  }

  #take(alone: boolean): void {
    if (alone) this.#alone = true
    else this.#together++
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#free(next.alone); next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#take(next.alone)
      next.enter()
    }
  }
}
