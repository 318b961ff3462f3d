import { UsageError } from '../usage-error.ts'

const units: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 }
const longestHours = 168

/**
 * `90m`, `6h`, `2d`, or a time in RFC 3339, as a batch takes it: the deadline and the completion window around it.
 * @throws UsageError
 */
export function deadlineOf(text: string, nowMs: number): { deadline: string; completion_window: string } {
  const [, amount, unit = ''] = /^(\d{1,4})([mhd])$/.exec(text) ?? []
  const at = amount === undefined ? Date.parse(text) : nowMs + Number(amount) * (units[unit] ?? 0)
  if (!Number.isFinite(at) || at <= nowMs) {
    throw new UsageError(`--deadline ${text}: give minutes, hours or days from now (90m, 6h, 2d), or a time to come.`)
  }
  const hours = Math.max(1, Math.ceil((at - nowMs) / 3_600_000))
  if (hours > longestHours) throw new UsageError(`--deadline ${text}: a week at most.`)
  return { deadline: new Date(at).toISOString(), completion_window: `${hours}h` }
}
