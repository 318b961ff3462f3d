import type { Fault } from './fault-plan.ts'

/** What the control API can be asked to break: at once, or for operations to come. */
export type FaultRequest = { kind: 'drop-connections' } | { kind: 'lose-locks'; entity: string | undefined } | Fault

const operations = ['attach', 'send', 'settle', 'management'] as const

/** @throws Error naming the field that is wrong */
export const parseFault = (value: unknown): FaultRequest => {
  if (typeof value !== 'object' || value === null) throw new Error('a fault must be an object')
  const fields = value as Record<string, unknown>
  const entity = optionalText(fields, 'entity')
  const { kind } = fields
  if (kind === 'drop-connections') return { kind }
  if (kind === 'lose-locks') return { kind, entity }
  if (kind !== 'refuse' && kind !== 'delay' && kind !== 'throttle')
    throw new Error('kind must be drop-connections, lose-locks, refuse, delay or throttle')
  const operation = operations.find((candidate) => candidate === fields['operation'])
  if (operation === undefined && fields['operation'] !== undefined)
    throw new Error(`operation must be one of ${operations.join(', ')}`)
  const delayMs = optionalCount(fields, 'delayMs')
  if (kind === 'delay' && delayMs === undefined) throw new Error('delayMs must be a whole number above 0')
  return {
    kind,
    operation,
    entity,
    condition: optionalText(fields, 'condition'),
    description: optionalText(fields, 'description'),
    delayMs,
    count: optionalCount(fields, 'count'),
  }
}

const optionalText = (fields: Record<string, unknown>, name: string): string | undefined => {
  const value = fields[name]
  if (value !== undefined && typeof value !== 'string') throw new Error(`${name} must be a text`)
  return value
}

const optionalCount = (fields: Record<string, unknown>, name: string): number | undefined => {
  const value = fields[name]
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1)
    throw new Error(`${name} must be a whole number above 0`)
  return value
}
