import type { Grant } from '@sluice/admission'
import type { ForwardInput, ForwardLimits } from './forward-types.ts'

/** The tightest of a caller's limits, of which admission says what is left. */
export function limitsOf(
  { requests, tokens, resetMs = 0 }: Grant['tenantLeft'],
  { shares = [] }: Pick<ForwardInput, 'shares'>,
): ForwardLimits | undefined {
  if (requests === undefined && tokens === undefined) return undefined
  const least = (limits: (number | undefined)[]) => Math.min(...limits.filter((limit) => limit !== undefined))
  return {
    ...(requests === undefined
      ? {}
      : { requests: { limit: least(shares.map((one) => one.requestsPerMinute)), left: requests, resetMs } }),
    ...(tokens === undefined
      ? {}
      : { tokens: { limit: least(shares.map((one) => one.tokensPerMinute)), left: tokens, resetMs } }),
  }
}
