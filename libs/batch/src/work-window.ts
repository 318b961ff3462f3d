/** Work of which a bounded number is under way at a time. The first failure is thrown by whatever is called next. */
export class WorkWindow {
  readonly #limit: number
  readonly #running = new Set<Promise<void>>()
  #failure: { error: unknown } | undefined

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Starts work once there is room for it. */
  async add(work: () => Promise<void>): Promise<void> {
    while (this.#running.size >= this.#limit) await Promise.race(this.#running)
    if (this.#failure !== undefined) throw this.#failure.error
    const one = work()
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => this.#running.delete(one))
    this.#running.add(one)
  }

  /** Waits for all of it. */
  async end(): Promise<void> {
    await Promise.all(this.#running)
    if (this.#failure !== undefined) throw this.#failure.error
  }
}
