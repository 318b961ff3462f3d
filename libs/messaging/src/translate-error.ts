import { isServiceBusError } from '@azure/service-bus'
import { AppError } from '@sluice/errors'

/**
 * A broker's error as an AppError: `lock_lost`, `message_too_large`, else `queue_unavailable`, whose outcome is unknown.
 * @param doing what was tried, for the message: `send to requests-bulk`
 */
export function translateServiceBus(error: unknown, doing: string): AppError {
  if (error instanceof AppError) return error
  if (isLockLost(error)) return new AppError('lock_lost', `${doing}: the lock is lost`, { cause: error })
  if (isServiceBusError(error)) {
    if (error.code === 'MessageSizeExceeded') {
      return new AppError('message_too_large', `${doing}: larger than the broker takes`, { cause: error })
    }
    // Microsoft's documentation asks for ten seconds after ServerBusy.
    const wait = error.code === 'ServiceBusy' ? { retryAfterMs: 10_000 } : {}
    return new AppError('queue_unavailable', `${doing}: ${error.code}`, { cause: error, ...wait })
  }
  const what = error instanceof Error ? error.name : String(error)
  return new AppError('queue_unavailable', `${doing}: ${what}`, { cause: error })
}

// MessageNotFound is what the management link answers when the lock went together with its message.
const lockLostCodes = new Set(['MessageLockLost', 'SessionLockLost', 'MessageNotFound'])

export const isLockLost = (error: unknown): boolean => isServiceBusError(error) && lockLostCodes.has(error.code)

/** The broker understood and said no: the same message would be refused again, and nothing of it was stored. */
export const isRefusal = (error: unknown): boolean =>
  isServiceBusError(error) && !error.retryable && refusalCodes.has(error.code)

const refusalCodes = new Set(['MessageSizeExceeded', 'GeneralError'])
