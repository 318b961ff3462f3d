import { numberOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { matchingText } from './matching-text.ts'
import type { InstanceHints } from './schema-instance.ts'

const maxLength = 10_000

const digits = (hints: InstanceHints, count: number): string =>
  Array.from({ length: count }, () => hints.draws.between(0, 9)).join('')

const twoDigits = (value: number): string => String(value).padStart(2, '0')

const date = ({ draws }: InstanceHints): string =>
  `20${draws.between(20, 29)}-${twoDigits(draws.between(1, 12))}-${twoDigits(draws.between(1, 28))}`

const time = ({ draws }: InstanceHints): string =>
  `${twoDigits(draws.between(0, 23))}:${twoDigits(draws.between(0, 59))}:${twoDigits(draws.between(0, 59))}Z`

const hex = ({ draws }: InstanceHints, count: number): string =>
  Array.from({ length: count }, () => draws.between(0, 15).toString(16)).join('')

const formats: Record<string, (hints: InstanceHints) => string> = {
  date,
  time,
  'date-time': (hints) => `${date(hints)}T${time(hints)}`,
  duration: ({ draws }) => `PT${draws.between(1, 59)}M`,
  email: (hints) => `user${digits(hints, 4)}@example.com`,
  hostname: (hints) => `host${digits(hints, 3)}.example.com`,
  ipv4: ({ draws }) => `192.0.2.${draws.between(1, 254)}`,
  ipv6: (hints) => `2001:db8::${hex(hints, 4)}`,
  uuid: (hints) => `${hex(hints, 8)}-${hex(hints, 4)}-4${hex(hints, 3)}-a${hex(hints, 3)}-${hex(hints, 12)}`,
  uri: (hints) => `https://example.com/${hints.subjects[0] ?? 'item'}/${digits(hints, 3)}`,
}

/** A string for a schema: its pattern, else its format, else words of the prompt within the length bounds. */
export function stringInstance(schema: Json, hints: InstanceHints): string {
  const pattern = textOf(schema['pattern'])
  const matched = pattern === undefined ? undefined : matchingText(pattern, hints.draws)
  if (matched !== undefined) return matched
  const formatted = formats[textOf(schema['format']) ?? '']?.(hints)
  if (formatted !== undefined) return formatted
  const { draws, subjects } = hints
  const words = Array.from(
    { length: draws.between(1, 3) },
    () => subjects[draws.between(0, subjects.length - 1)] ?? 'item',
  )
  let text = words.join(' ')
  const least = Math.min(numberOf(schema['minLength']) ?? 0, maxLength)
  while (text.length < least) text += ` ${draws.pick(['item', 'part', 'unit'])}`
  const most = numberOf(schema['maxLength'])
  return most === undefined ? text : text.slice(0, Math.max(most, 0))
}
