import type { AppError } from '@sluice/errors'

/** The lock of one delivery. Lost is final: what was decided under it must not be carried out any more. */
export class HeldLock {
  #lost = false
  /** What the present step does when the lock goes. A callback, because a signal with listeners costs ten times as much. */
  onLost: ((error: AppError) => void) | undefined

  get lost(): boolean {
    return this.#lost
  }

  lose(error: AppError): void {
    this.#lost = true
    this.onLost?.(error)
  }
}
