import type { TenantShare } from '@sluice/admission'
import type { Limits, PlatformConfig } from '@sluice/contracts'
import type { Caller } from './authenticate.ts'

/** What a caller's tenant and key may use; a limit that is not set is none. */
export function createSharesOf(config: Pick<PlatformConfig, 'tenants'>): (caller: Caller) => readonly TenantShare[] {
  const tenants = new Map(Object.entries(config.tenants).map(([name, { limits }]) => [name, shareOf(name, limits)]))
  return ({ tenant, principal, limits }) => {
    const own = tenants.get(tenant)
    const key = shareOf(`${tenant}/${principal}`, limits)
    return own === undefined ? key : [...own, ...key]
  }
}

function shareOf(name: string, limits: Limits): readonly TenantShare[] {
  const { requests_per_minute, tokens_per_minute, concurrency } = limits
  if (requests_per_minute === undefined && tokens_per_minute === undefined && concurrency === undefined) return []
  return [{ name, requestsPerMinute: requests_per_minute, tokensPerMinute: tokens_per_minute, concurrency }]
}
