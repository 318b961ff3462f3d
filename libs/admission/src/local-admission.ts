import type { CallEnd, Quota, RefusalReason, TenantShare } from './admission-types.ts'
import type { HeldSlots } from './held-slots.ts'
import { LocalWindows } from './local-windows.ts'
import { slotsKey } from './quota-script.ts'
import type { BreakerSettings } from './settings.ts'
import { windows } from './windows.ts'

type LocalReservation =
  | { kind: 'room'; quota: Quota; usedTokens: number }
  | { kind: 'later'; afterMs: number; reason: RefusalReason }

// While slots are all taken: nobody tells when one becomes free.
const slotWaitMs = 50

/**
 * One worker's own view of every limit, for when Redis is out of reach: what it did itself against its part of each.
 * It follows along while Redis answers. Slots come down to a whole one at the least, so with more workers than slots
 * there may be one for each. Its breaker is a simple one: failures in a row keep this worker away for a while.
 */
export class LocalAdmission {
  readonly #part: number
  readonly #held: HeldSlots
  readonly #breaker: BreakerSettings
  readonly #deployments: LocalWindows
  readonly #tenants: LocalWindows
  readonly #failures = new Map<string, number>()

  /** @param part of every limit, above 0 and up to 1 */
  constructor(part: number, held: HeldSlots, breaker: BreakerSettings) {
    this.#part = part
    this.#held = held
    this.#breaker = breaker
    this.#deployments = new LocalWindows(part)
    this.#tenants = new LocalWindows(part)
  }

  spend(deployment: string, shares: readonly TenantShare[], tokens: number, now: number): void {
    this.#deployments.spend(deployment, tokens, now)
    for (const { name } of shares) this.#tenants.spend(name, tokens, now)
  }

  cool(deployment: string, until: number): void {
    this.#deployments.cool(deployment, until)
  }

  /** Share of the deployment's tokens that are spent, 0 to 1, of what this worker may use. */
  utilisation({ name, tokensPerMinute }: Quota, now: number): number {
    return Math.min(1, this.#deployments.used(name, now) / (tokensPerMinute * this.#part))
  }

  ended(deployment: string, outcome: CallEnd['outcome'], failed: boolean, now: number): void {
    if (outcome === 'ok') this.#failures.delete(deployment)
    if (!failed) return
    const failures = (this.#failures.get(deployment) ?? 0) + 1
    this.#failures.set(deployment, failures)
    if (failures >= this.#breaker.failures) this.cool(deployment, now + this.#breaker.open_ms)
  }

  reserve(candidates: readonly Quota[], shares: readonly TenantShare[], tokens: number, now: number): LocalReservation {
    const tenantWait = Math.max(0, ...shares.map((share) => this.#shareWait(share, tokens, now)))
    let soonest = Number.POSITIVE_INFINITY
    let reason: RefusalReason = 'deployment'
    for (const quota of candidates) {
      const windowsWait = this.#deployments.waitFor(quota, tokens, now)
      const slots = this.#slotsLeft(slotsKey.deployment(quota.name), quota.maxConcurrency)
      const wait = windowsWait > 0 || slots > 0 ? windowsWait : slotWaitMs
      if (wait === 0 && tenantWait === 0) {
        return { kind: 'room', quota, usedTokens: this.#deployments.used(quota.name, now) + tokens }
      }
      if (wait >= soonest) continue
      soonest = wait
      reason = windowsWait > 0 ? 'deployment' : 'concurrency'
    }
    if (tenantWait >= soonest) return { kind: 'later', afterMs: tenantWait, reason: 'tenant' }
    return { kind: 'later', afterMs: soonest, reason }
  }

  #shareWait(share: TenantShare, tokens: number, now: number): number {
    const limits = {
      name: share.name,
      tokensPerMinute: share.tokensPerMinute ?? Number.POSITIVE_INFINITY,
      requestsPerMinute: share.requestsPerMinute ?? Number.POSITIVE_INFINITY,
    }
    const calls =
      share.requestsPerMinute === undefined ? [] : [{ limit: share.requestsPerMinute, windowMs: windows.minute }]
    const wait = this.#tenants.waitFor(limits, tokens, now, calls)
    if (wait > 0) return wait
    return this.#slotsLeft(slotsKey.tenant(share.name), share.concurrency) > 0 ? 0 : slotWaitMs
  }

  #slotsLeft(key: string, limit: number | undefined): number {
    if (limit === undefined) return 1
    return Math.max(1, Math.floor(limit * this.#part)) - this.#held.inFlight(key)
  }
}
