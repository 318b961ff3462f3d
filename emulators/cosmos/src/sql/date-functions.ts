import type { Value } from '../json.ts'
import type { BuiltIn } from './functions.ts'

const isoText = (milliseconds: number): Value => {
  const date = new Date(milliseconds)
  // The service writes seven fractional digits.
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString().replace('Z', '0000Z')
}

const millisecondsOf = (text: Value): number | undefined => {
  if (typeof text !== 'string' || !/^\d{4}-\d{2}-\d{2}(T|$)/.test(text)) return undefined
  const milliseconds = Date.parse(text)
  return Number.isNaN(milliseconds) ? undefined : milliseconds
}

const unitMs: Record<string, number> = {
  day: 86_400_000,
  dd: 86_400_000,
  hour: 3_600_000,
  hh: 3_600_000,
  minute: 60_000,
  mi: 60_000,
  second: 1000,
  ss: 1000,
  millisecond: 1,
  ms: 1,
}

const addTo = (part: Value, count: Value, text: Value): Value => {
  const start = millisecondsOf(text)
  if (typeof part !== 'string' || typeof count !== 'number' || start === undefined) return undefined
  const unit = unitMs[part.toLowerCase()]
  if (unit !== undefined) return isoText(start + unit * count)
  const date = new Date(start)
  if (['year', 'yyyy', 'yy'].includes(part.toLowerCase())) date.setUTCFullYear(date.getUTCFullYear() + count)
  else if (['month', 'mm', 'm'].includes(part.toLowerCase())) date.setUTCMonth(date.getUTCMonth() + count)
  else return undefined
  return isoText(date.getTime())
}

const difference = (part: Value, from: Value, to: Value): Value => {
  const [start, end] = [millisecondsOf(from), millisecondsOf(to)]
  const unit = typeof part === 'string' ? unitMs[part.toLowerCase()] : undefined
  return start === undefined || end === undefined || unit === undefined
    ? undefined
    : Math.trunc(end / unit) - Math.trunc(start / unit)
}

const now = (read: (nowMs: number) => Value): BuiltIn => ({ arity: [0, 0], apply: (_, nowMs) => read(nowMs) })

export const dateFunctions: Record<string, BuiltIn> = {
  GETCURRENTDATETIME: now(isoText),
  GETCURRENTTIMESTAMP: now((nowMs) => nowMs),
  GETCURRENTTICKS: now((nowMs) => nowMs * 10_000 + 621_355_968_000_000_000),
  GETCURRENTDATETIMESTATIC: now(isoText),
  GETCURRENTTIMESTAMPSTATIC: now((nowMs) => nowMs),
  DATETIMEADD: { arity: [3, 3], apply: ([part, count, text]) => addTo(part, count, text) },
  DATETIMEDIFF: { arity: [3, 3], apply: ([part, from, to]) => difference(part, from, to) },
  DATETIMETOTIMESTAMP: { arity: [1, 1], apply: ([text]) => millisecondsOf(text) },
  TIMESTAMPTODATETIME: { arity: [1, 1], apply: ([ms]) => (typeof ms === 'number' ? isoText(ms) : undefined) },
}
