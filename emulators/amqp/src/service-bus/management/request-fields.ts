import type { AmqpValue } from '../../amqp/read-value.ts'
import { invalidArgument } from '../../broker-error.ts'
import type { ManagementRequest } from '../../server/management-request.ts'
import { lockIdOf } from '../lock-token.ts'

/** The value as a map; an empty one when it is none. */
export const record = (value: AmqpValue | undefined): Record<string, AmqpValue> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  !Buffer.isBuffer(value) &&
  !(value instanceof Date)
    ? value
    : {}

/** The locks that lock-tokens names. A token that is not ours becomes lock 0, which nobody holds. */
export const lockIds = (request: ManagementRequest): number[] => {
  const tokens = request.field('lock-tokens')
  if (!Array.isArray(tokens) || tokens.length === 0) throw invalidArgument('lock-tokens must be a list of uuids.')
  return tokens.map((token) =>
    typeof token === 'string' ? (lockIdOf(Buffer.from(token.replaceAll('-', ''), 'hex')) ?? 0) : 0,
  )
}

export const sequenceNumbers = (request: ManagementRequest): number[] => {
  const numbers = request.field('sequence-numbers')
  if (!Array.isArray(numbers)) throw invalidArgument('sequence-numbers must be a list of longs.')
  return numbers.map(Number)
}

export const sessionIdOf = (request: ManagementRequest): string => {
  const sessionId = request.field('session-id')
  if (typeof sessionId !== 'string') throw invalidArgument('session-id must be a string.')
  return sessionId
}
