import type { Timer } from '@sluice/resilience'
import type { RowPatch } from '@sluice/storage'
import type { Context } from './context.ts'
import type { Row } from './row.ts'

// Flips are lazy: what waits here at a crash is published once more by a sweeper. So they are gathered, and few requests
// carry many of them.
const gatherMs = 50
const retryMs = 1_000
const maxPending = 10_000
const writeDeadlineMs = 10_000

/** Turns `published` true for rows whose event is on the topic. */
export class Flips {
  readonly #context: Context
  #pending = new Map<string, RowPatch>()
  #timer: Timer | undefined
  #writing: Promise<void> | undefined
  #failing = false

  constructor(context: Context) {
    this.#context = context
  }

  add({ id, tenant }: Pick<Row, 'id' | 'tenant'>): void {
    // While storage is away the flips beyond the bound are left to the sweepers.
    if (this.#pending.size >= maxPending) return
    this.#pending.set(`${tenant}/${id}`, {
      id,
      key: [tenant, id],
      operations: [{ op: 'set', path: '/published', value: true }],
    })
    this.#schedule(gatherMs)
  }

  /** Writes what is pending, once; what fails is left to the sweepers. */
  async close(): Promise<void> {
    this.#timer?.cancel()
    await this.#writing
    this.#timer?.cancel()
    await this.#write()
    this.#timer?.cancel()
  }

  #schedule(ms: number): void {
    if (this.#timer !== undefined || this.#writing !== undefined) return
    this.#timer = this.#context.clock.setTimeout(() => {
      this.#timer = undefined
      this.#writing = this.#write().then((ok) => {
        this.#writing = undefined
        if (this.#pending.size > 0) this.#schedule(ok ? 0 : retryMs)
      })
    }, ms)
  }

  async #write(): Promise<boolean> {
    if (this.#pending.size === 0) return true
    const batch = this.#pending
    this.#pending = new Map()
    const failed = await this.#context.rows.patchAll([...batch.values()], writeDeadlineMs).catch((err: unknown) => {
      if (!this.#failing) this.#context.logger.warn({ err }, 'flips of published are late')
      return [...batch.values()]
    })
    for (const patch of failed) {
      if (this.#pending.size < maxPending) this.#pending.set(patch.key.join('/'), patch)
    }
    this.#failing = failed.length > 0
    return !this.#failing
  }
}
