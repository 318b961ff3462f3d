import { invalidArgument } from '../broker-error.ts'

export type EventPosition =
  | { from: 'start' }
  | { from: 'end' }
  | { from: 'offset' | 'sequence-number' | 'enqueued-time'; value: number; inclusive: boolean }

const pattern = /^\s*amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time)\s*(>=?)\s*'([^']*)'\s*$/

/**
 * Reads the selector with which a consumer says where it starts. Without one it starts at the beginning.
 * @throws BrokerError when the selector is none the service knows
 */
export const parseEventPosition = (selector: string | undefined): EventPosition => {
  if (selector === undefined) return { from: 'start' }
  const match = pattern.exec(selector)
  const [kind, operator, text] = [match?.[1], match?.[2], match?.[3]]
  if (kind === undefined || text === undefined)
    throw invalidArgument(`The filter '${selector}' is not a known event position.`)
  if (text === '@latest') return { from: 'end' }
  if (text === '-1' && kind !== 'enqueued-time') return { from: 'start' }
  const value = Number(text)
  if (text === '' || !Number.isFinite(value))
    throw invalidArgument(`The filter '${selector}' compares with something that is not a number.`)
  return { from: kind as 'offset', value, inclusive: operator === '>=' }
}
