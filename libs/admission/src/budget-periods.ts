/** A day and its month in UTC, as budgets name them. */
export interface Period {
  /** `2026-11-21` */
  day: string
  /** `2026-11` */
  month: string
}

export function periodAt(epochMs: number): Period {
  const days = Math.floor(epochMs / dayMs)
  if (days !== last.days) last = { days, period: periodOf(epochMs) }
  return last.period
}

const dayMs = 24 * 3600_000

function periodOf(epochMs: number): Readonly<Period> {
  const day = new Date(epochMs).toISOString().slice(0, 10)
  return { day, month: day.slice(0, 7) }
}

// Nearly every call asks for the day of the one before it.
let last = { days: 0, period: periodOf(0) }

/** How long the running day or month still lasts, in ms. */
export function resetsInMs(period: 'day' | 'month', epochMs: number): number {
  const date = new Date(epochMs)
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()]
  const end = period === 'day' ? Date.UTC(year, month, date.getUTCDate() + 1) : Date.UTC(year, month + 1, 1)
  return end - epochMs
}

// Nano-dollars: a token of a small model costs some 75 of them, and nine million dollars are still a safe integer.
export const toNano = (usd: number): number => Math.round(usd * 1e9)
export const toUsd = (nano: number): number => nano / 1e9
