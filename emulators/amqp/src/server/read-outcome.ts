import type { PropertyChanges } from '../service-bus/application-properties.ts'
import type { DeadLetterCause } from '../service-bus/message-queue.ts'
import { encodeTyped, type TypedValue } from './rhea-internals.ts'

export type Outcome =
  | { kind: 'accepted' | 'released' | 'unknown' }
  | { kind: 'rejected'; cause: DeadLetterCause; changes: PropertyChanges }
  | { kind: 'modified'; undeliverableHere: boolean; changes: PropertyChanges }

const kinds: Record<string, 'accepted' | 'rejected' | 'released' | 'modified'> = {
  [0x24]: 'accepted',
  [0x25]: 'rejected',
  [0x26]: 'released',
  [0x27]: 'modified',
  'amqp:accepted:list': 'accepted',
  'amqp:rejected:list': 'rejected',
  'amqp:released:list': 'released',
  'amqp:modified:list': 'modified',
}

const causeKeys = { DeadLetterReason: 'reason', DeadLetterErrorDescription: 'description' } as const

/**
 * What a client wants done with a delivery. Reason and description of a dead letter travel in the error's info, together
 * with application properties to change; other clients name the condition and description of the error itself.
 */
export const readOutcome = (state: TypedValue): Outcome => {
  const kind = kinds[String(state.descriptor?.value)]
  const fields = Array.isArray(state.value) ? (state.value as (TypedValue | undefined)[]) : []
  if (kind === 'accepted' || kind === 'released') return { kind }
  if (kind === 'modified') {
    return {
      kind,
      undeliverableHere: fields[1]?.value === true,
      changes: new Map(entries(fields[2]).map(([key, value]) => [key, encodeTyped(value)])),
    }
  }
  if (kind !== 'rejected') return { kind: 'unknown' }
  const error = Array.isArray(fields[0]?.value) ? (fields[0].value as (TypedValue | undefined)[]) : []
  const cause: DeadLetterCause = {}
  const changes: PropertyChanges = new Map()
  const condition = text(error[0])
  if (condition !== undefined && condition !== 'com.microsoft:dead-letter') cause.reason = condition
  cause.description = text(error[1])
  for (const [key, value] of entries(error[2])) {
    if (key === 'DeadLetterReason' || key === 'DeadLetterErrorDescription') cause[causeKeys[key]] = text(value)
    else changes.set(key, encodeTyped(value))
  }
  return { kind, cause, changes }
}

const text = (value: TypedValue | undefined): string | undefined =>
  typeof value?.value === 'string' ? value.value : undefined

const entries = (map: TypedValue | undefined): [string, TypedValue][] => {
  const items = Array.isArray(map?.value) ? (map.value as (TypedValue | undefined)[]) : []
  const found: [string, TypedValue][] = []
  for (let at = 0; at + 1 < items.length; at += 2) {
    const [key, value] = [items[at], items[at + 1]]
    if (typeof key?.value === 'string' && value !== undefined) found.push([key.value, value])
  }
  return found
}
