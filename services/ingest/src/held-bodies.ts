import { AppError } from '@sluice/errors'

/** What is held of one body. */
export interface HeldBody {
  /**
   * Counts up to that many bytes of this body.
   * @throws AppError `no_capacity` as a 503 when all bodies together would be too much
   */
  reach(bytes: number): void
  /** Nothing of it is held any more. */
  free(): void
}

/**
 * Counts what a process holds of the bodies of requests, from their first byte on: a synchronous call's to the end of its
 * answer, because another deployment may need it; one that is queued until it is stored and sent, or refused.
 */
export class HeldBodies {
  /** Bytes of all bodies together. */
  readonly limit: number
  readonly #byTenant = new Map<string, number>()
  #bytes = 0

  /** @param limit bytes of all bodies together; one tenant has half of it, or a single body */
  constructor(limit: number) {
    this.limit = limit
  }

  get bytes(): number {
    return this.#bytes
  }

  open(tenant: string): HeldBody {
    let own = 0
    const add = (more: number) => {
      own += more
      this.#bytes += more
      const left = (this.#byTenant.get(tenant) ?? 0) + more
      if (left > 0) this.#byTenant.set(tenant, left)
      else this.#byTenant.delete(tenant)
    }
    return {
      reach: (bytes) => {
        const more = bytes - own
        if (more <= 0) return
        const tenants = this.#byTenant.get(tenant) ?? 0
        const shared = tenants === own || tenants + more <= this.limit / 2
        if (!shared || this.#bytes + more > this.limit) throw tooMuch()
        add(more)
      },
      free: () => add(-own),
    }
  }
}

const tooMuch = () =>
  new AppError('no_capacity', 'Too many large bodies at a time; please retry.', { status: 503, retryAfterMs: 1_000 })
