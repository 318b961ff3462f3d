/** What is left of a limit a minute. */
interface Left {
  limit: number
  left: number
  /** Until all of it is there again. */
  resetMs: number
}

/** OpenAI's headers about limits, names and values in turn. https://platform.openai.com/docs/guides/rate-limits */
export function limitHeaders({ requests, tokens }: { requests?: Left; tokens?: Left }): string[] {
  const headers: string[] = []
  if (requests !== undefined) add(headers, 'requests', requests)
  if (tokens !== undefined) add(headers, 'tokens', tokens)
  return headers
}

function add(headers: string[], name: 'requests' | 'tokens', { limit, left, resetMs }: Left): void {
  headers.push(
    `x-ratelimit-limit-${name}`,
    String(limit),
    `x-ratelimit-remaining-${name}`,
    String(left),
    `x-ratelimit-reset-${name}`,
    duration(resetMs),
  )
}

/** As OpenAI writes one, which is how Go does: `6ms`, `1s`, `1m0.98s`, `6m0s`. Rounded up to a millisecond. */
export function duration(ms: number): string {
  const whole = Math.max(0, Math.ceil(ms))
  if (whole < 1_000) return `${whole}ms`
  const seconds = (whole % 60_000) / 1_000
  const minutes = Math.floor(whole / 60_000)
  return minutes === 0 ? `${seconds}s` : `${minutes}m${seconds}s`
}
