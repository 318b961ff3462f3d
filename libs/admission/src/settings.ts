import type { PlatformConfig } from '@sluice/contracts'
import { aheadMs, windows } from './windows.ts'

/** When a deployment counts as broken, and how it comes back. */
export type BreakerSettings = PlatformConfig['routing']['breaker']

export const usualBreaker: BreakerSettings = { failures: 5, failure_rate: 0.5, open_ms: 5_000, recover_ms: 30_000 }

/** A slot that nobody renewed for this long is free: the longest that a crash can withhold it. */
export const usualLeaseMs = 15_000

/** The numbers that the scripts call `settings.<name>`. */
export const scriptSettings = (breaker: BreakerSettings, leaseMs: number): Record<string, number> => ({
  tokenWindow: windows.tokens,
  second: windows.second,
  tenSeconds: windows.tenSeconds,
  minute: windows.minute,
  aheadMs,
  lease: leaseMs,
  slotWaitLeast: 20,
  slotWaitMost: 1_000,
  // Nobody knows when a drained deployment comes back.
  drainedAsk: 5_000,
  paceAhead: 1_000,
  paceFloor: 0.2,
  paceFree: 0.2,
  paceLog: 256,
  // A refusal is certain, a latency is a hint.
  refusedCut: 0.7,
  slowerCut: 0.9,
  slower: 2,
  latencySamples: 20,
  fastWeight: 0.1,
  slowWeight: 0.005,
  lessonsMs: 24 * 3600_000,
  failures: breaker.failures,
  failureRate: breaker.failure_rate,
  rateCalls: 20,
  ratePeriod: 30_000,
  openMs: breaker.open_ms,
  openMost: Math.max(60_000, breaker.open_ms),
  probes: 3,
  probeSpacing: 500,
  recoverMs: breaker.recover_ms,
  recoveryFailures: 2,
})
