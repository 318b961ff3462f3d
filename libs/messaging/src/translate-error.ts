import { isServiceBusError, type ServiceBusError } from '@azure/service-bus'
import { AppError } from '@sluice/errors'

/**
 * A broker's error as an AppError: `lock_lost`, `message_too_large`, else `queue_unavailable`, whose outcome is unknown.
 * @param doing what was tried, for the message: `send to requests-bulk`
 */
export function translateServiceBus(thrown: unknown, doing: string): AppError {
  if (thrown instanceof AppError) return thrown
  const cause = lastOf(thrown)
  if (isLockLost(cause)) return new AppError('lock_lost', `${doing}: the lock is lost`, { cause })
  const code = codeOf(cause)
  if (code === 'MessageSizeExceeded') {
    return new AppError('message_too_large', `${doing}: larger than the broker takes`, { cause })
  }
  // Microsoft's documentation asks for ten seconds after ServerBusy.
  const wait = code === 'ServiceBusy' ? { retryAfterMs: 10_000 } : {}
  return new AppError('queue_unavailable', `${doing}: ${code}`, { cause, ...wait })
}

// MessageNotFound is what the management link answers when the lock went together with its message.
const lockLostCodes = new Set(['MessageLockLost', 'SessionLockLost', 'MessageNotFound'])

export const isLockLost = (thrown: unknown): boolean => lockLostCodes.has(codeOf(thrown))

// What the broker answers when no session has a message; the SDK gives up waiting with the same code.
const noSessionCodes = new Set(['ServiceTimeout', 'SessionCannotBeLocked'])

export const isNoSession = (thrown: unknown): boolean => noSessionCodes.has(codeOf(thrown))

/** Nothing is known about the outcome, and the same may work later. */
export const isTransient = (thrown: unknown): boolean => vendorError(thrown)?.retryable === true

/** The broker understood and said no: the same message would be refused again, and nothing of it was stored. */
export const isRefusal = (thrown: unknown): boolean =>
  vendorError(thrown)?.retryable === false && refusalCodes.has(codeOf(thrown))

const refusalCodes = new Set(['MessageSizeExceeded', 'GeneralError'])

// After more than one attempt the SDK throws an AggregateError of all of them (core-amqp 4, retry.js).
function lastOf(thrown: unknown): unknown {
  return thrown instanceof AggregateError ? (thrown.errors.at(-1) as unknown) : thrown
}

function vendorError(thrown: unknown): ServiceBusError | undefined {
  const error = lastOf(thrown)
  return isServiceBusError(error) ? error : undefined
}

function codeOf(thrown: unknown): string {
  const error = lastOf(thrown)
  if (isServiceBusError(error)) return error.code
  return error instanceof Error ? error.name : String(error)
}
