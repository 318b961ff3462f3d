import type { AppError } from '@sluice/errors'

/** The lock of one delivery. Lost is final: what was decided under it must not be carried out any more. */
export class HeldLock {
  #lost: AppError | undefined
  #onLost: ((error: AppError) => void) | undefined

  get lost(): boolean {
    return this.#lost !== undefined
  }

  lose(error: AppError): void {
    this.#lost ??= error
    this.#onLost?.(error)
  }

  /** Runs `fn`, calling `onLost` if the lock goes while it runs, or is gone already. One at a time. */
  async during<T>(fn: () => Promise<T>, onLost: (error: AppError) => void): Promise<T> {
    // A plain callback, because an AbortSignal a delivery, with its listeners, is a tenth of what a delivery costs.
    this.#onLost = onLost
    if (this.#lost) onLost(this.#lost)
    try {
      return await fn()
    } finally {
      this.#onLost = undefined
    }
  }
}
