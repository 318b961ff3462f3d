import type { Attempt } from '@sluice/contracts'
import type { Clock } from '@sluice/resilience'

/** Tenants whose requests make healthy deployments fail, as far as this process has seen. */
export interface Suspects {
  /** A deployment answered a request of the tenant. Called for each answer: it allocates next to nothing. */
  answered(deployment: string, tenant: string): void
  /**
   * Whether a failure is not to be held against its deployment: a request of the tenant made two deployments fail lately,
   * and this one answers others all the same.
   * @param status what the deployment answered; 0 when it did not
   * @param earlier the attempts of the same request before this one
   */
  isToBlame(deployment: string, tenant: string, status: number, earlier: readonly Attempt[]): boolean
}

interface Answers {
  tenant: string
  at: number
  /** The last answer to another tenant than the last one. */
  otherAt: number
}

const suspectedMs = 60_000
const recentMs = 10_000
const mostSuspects = 1_000
// 502 to 504 are a gateway's word that a deployment is away, and a lost connection says the same.
const internalError = 500

/**
 * A body that makes the provider fail fails everywhere, and each failure would bring every deployment's breaker closer to
 * opening for all tenants.
 */
export function createSuspects(clock: Pick<Clock, 'monotonic'>): Suspects {
  /** Until when; bounded, the oldest are forgotten first. */
  const suspects = new Map<string, number>()
  const answers = new Map<string, Answers>()

  const suspect = (tenant: string, now: number) => {
    suspects.delete(tenant)
    suspects.set(tenant, now + suspectedMs)
    if (suspects.size <= mostSuspects) return
    for (const oldest of suspects.keys()) return void suspects.delete(oldest)
  }

  return {
    answered(deployment, tenant) {
      const now = clock.monotonic()
      const last = answers.get(deployment)
      if (last === undefined) {
        answers.set(deployment, { tenant, at: now, otherAt: -Infinity })
        return
      }
      if (last.tenant !== tenant) {
        last.otherAt = last.at
        last.tenant = tenant
      }
      last.at = now
    },

    isToBlame(deployment, tenant, status, earlier) {
      if (status !== internalError) return false
      const now = clock.monotonic()
      if (earlier.some((one) => one.status === internalError && one.deployment !== deployment)) suspect(tenant, now)
      if ((suspects.get(tenant) ?? -Infinity) < now) return false
      const last = answers.get(deployment)
      if (last === undefined) return false
      return now - (last.tenant === tenant ? last.otherAt : last.at) < recentMs
    },
  }
}
