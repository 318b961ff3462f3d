// A provider may count in whole seconds, so that what is a minute old leaves its window up to a second later; a second
// of 61 costs 1.6 % of a quota, which is less than what a 429 costs.
const tokenWindowMs = 61_000

// Grants reach the provider with unequal delays: two that are a second apart here may arrive closer together. The
// margin is what the delays of a warm connection differ by; a longer one would cost throughput in the shortest window.
const arrivalSpreadMs = 40

/** How long room that is reserved ahead may wait for its call; it stays in the request windows for that much longer. */
export const aheadMs = 25

/** The spans over which calls and tokens are counted, in ms. */
export const windows = {
  tokens: tokenWindowMs,
  second: 1_000 + arrivalSpreadMs,
  tenSeconds: 10_000 + arrivalSpreadMs,
  minute: 60_000 + arrivalSpreadMs,
} as const

/**
 * How many calls fit in each request window. Azure spreads a minute's calls over periods of one and ten seconds.
 * https://learn.microsoft.com/azure/ai-foundry/openai/how-to/quota#understanding-rate-limits
 */
export const callLimits = (requestsPerMinute: number): readonly { limit: number; windowMs: number }[] => [
  { limit: Math.max(1, Math.ceil(requestsPerMinute / 60)), windowMs: windows.second },
  { limit: Math.max(1, Math.ceil(requestsPerMinute / 6)), windowMs: windows.tenSeconds },
  { limit: requestsPerMinute, windowMs: windows.minute },
]
