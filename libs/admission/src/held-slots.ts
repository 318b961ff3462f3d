import type { Clock, Timer } from '@sluice/resilience'
import { type QuotaScript, slotsKey } from './quota-script.ts'

interface Held {
  /** The slot's name in each sorted set. */
  id: string
  /** The sorted sets that hold it. */
  keys: readonly string[]
  sinceMs: number
}

interface HeldSlotsOptions {
  script: QuotaScript
  clock: Clock
  leaseMs: number
  onFailure: (error: unknown) => void
  /** A grant that is no longer renewed, because its end is far overdue. */
  onForgotten: (held: Held) => void
}

// Beyond every call's timeout and every realtime session: somebody forgot to end it.
const longestHoldMs = 2 * 3600_000
const idsPerCall = 500

/** The slots of one worker's calls in flight. While there are any, all of them are renewed in one script call. */
export class HeldSlots {
  readonly #held = new Map<string, Held>()
  readonly #perKey = new Map<string, number>()
  readonly #options: HeldSlotsOptions
  #timer: Timer | undefined
  #closed = false

  constructor(options: HeldSlotsOptions) {
    this.#options = options
  }

  add(id: string, keys: readonly string[]): void {
    if (keys.length === 0) return
    this.#held.set(id, { id, keys, sinceMs: this.#options.clock.monotonic() })
    for (const key of keys) this.#perKey.set(key, (this.#perKey.get(key) ?? 0) + 1)
    if (this.#timer === undefined) this.#arm()
  }

  remove(id: string): void {
    const held = this.#held.get(id)
    if (held === undefined) return
    this.#held.delete(id)
    for (const key of held.keys) {
      const left = (this.#perKey.get(key) ?? 1) - 1
      if (left === 0) this.#perKey.delete(key)
      else this.#perKey.set(key, left)
    }
  }

  /** This worker's own calls in flight. */
  inFlight(key: string): number {
    return this.#perKey.get(key) ?? 0
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
  }

  #arm(): void {
    if (this.#closed) return
    // Two renewals may be lost before a lease ends.
    this.#timer = this.#options.clock.setTimeout(() => void this.#renew(), this.#options.leaseMs / 3)
  }

  async #renew(): Promise<void> {
    const { clock, script, onFailure, onForgotten } = this.#options
    for (const held of this.#held.values()) {
      if (clock.monotonic() - held.sinceMs < longestHoldMs) continue
      this.remove(held.id)
      onForgotten(held)
    }
    const all = [...this.#held.values()]
    try {
      for (let at = 0; at < all.length; at += idsPerCall) {
        // What has ended meanwhile must not come back.
        const batch = all.slice(at, at + idsPerCall).filter(({ id }) => this.#held.has(id))
        const byKey = Map.groupBy(
          batch.flatMap(({ id, keys }) => keys.map((key) => ({ id, key }))),
          ({ key }) => key,
        )
        const counted = [...byKey.values()].flatMap((slots) => [slots.length, ...slots.map(({ id }) => id)])
        await script('renew', { more: [...byKey.keys()], operands: [byKey.size, ...counted] })
      }
    } catch (error) {
      onFailure(error)
    }
    this.#timer = undefined
    if (this.#held.size > 0) this.#arm()
  }
}

/** The sorted sets that a grant's slots are in. */
export function slotKeysOf(
  deployment: { name: string; maxConcurrency?: number | undefined },
  shares: readonly { name: string; concurrency?: number | undefined }[],
): string[] {
  const keys = shares.filter(({ concurrency }) => concurrency !== undefined).map(({ name }) => slotsKey.tenant(name))
  if (deployment.maxConcurrency !== undefined) keys.unshift(slotsKey.deployment(deployment.name))
  return keys
}
