import { AppError } from '@sluice/errors'
import { type Clock, withDeadline } from '@sluice/resilience'

/** Resolves when a dependency can be used, throws when it cannot. */
export type Check = () => Promise<void>

export interface CheckResult {
  ok: boolean
  ms: number
  /** The error's code or name; its message may quote a host or a statement. */
  error?: string
}

const checkDeadlineMs = 1000
const cacheMs = 1000

/**
 * Runs all checks at once and remembers their results for a second, so that many probes cost the dependencies no more
 * than one does.
 */
export function createReadiness(checks: () => Readonly<Record<string, Check>>, clock: Clock) {
  let cached: { atMs: number; results: Promise<Record<string, CheckResult>> } | undefined
  const runAll = async () => {
    const entries = Object.entries(checks())
    const results = await Promise.all(entries.map(async ([name, check]) => [name, await run(check, clock)] as const))
    return Object.fromEntries(results)
  }
  return (): Promise<Record<string, CheckResult>> => {
    const atMs = clock.monotonic()
    if (!cached || atMs - cached.atMs >= cacheMs) cached = { atMs, results: runAll() }
    return cached.results
  }
}

async function run(check: Check, clock: Clock): Promise<CheckResult> {
  const startMs = clock.monotonic()
  const result = (ok: boolean) => ({ ok, ms: Math.round(clock.monotonic() - startMs) })
  try {
    await withDeadline(checkDeadlineMs, undefined, check, () => new DOMException('no answer', 'TimeoutError'), clock)
    return result(true)
  } catch (error) {
    const name = error instanceof Error ? error.name : 'Error'
    return { ...result(false), error: error instanceof AppError ? error.code : name }
  }
}
