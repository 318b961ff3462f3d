/** A refusal with the AMQP condition that clients of the service map to their own errors. */
export class BrokerError extends Error {
  override readonly name = 'BrokerError'
  readonly condition: string

  constructor(condition: string, description: string) {
    super(description)
    this.condition = condition
  }
}

export const messageLockLost = (): BrokerError =>
  new BrokerError(
    'com.microsoft:message-lock-lost',
    'The lock supplied is invalid. Either the lock expired, or the message has already been removed from the queue.',
  )

export const sessionLockLost = (sessionId: string): BrokerError =>
  new BrokerError(
    'com.microsoft:session-lock-lost',
    `The session lock on session '${sessionId}' has expired. Accept the session again.`,
  )

export const sessionCannotBeLocked = (sessionId: string): BrokerError =>
  new BrokerError(
    'com.microsoft:session-cannot-be-locked',
    `The requested session '${sessionId}' cannot be accepted. It may be locked by another receiver.`,
  )

// The SDKs recognise a missing entity by this wording together with amqp:not-found.
export const entityNotFound = (address: string): BrokerError =>
  new BrokerError('amqp:not-found', `The messaging entity '${address}' could not be found.`)

export const entityDisabled = (address: string): BrokerError =>
  new BrokerError('com.microsoft:entity-disabled', `The messaging entity '${address}' is disabled for this operation.`)

export const messageNotFound = (description: string): BrokerError =>
  new BrokerError('com.microsoft:message-not-found', description)

export const messageTooLarge = (bytes: number, limit: number): BrokerError =>
  new BrokerError(
    'amqp:link:message-size-exceeded',
    `The message of ${bytes} bytes exceeds the limit of ${limit} bytes.`,
  )

export const quotaExceeded = (address: string): BrokerError =>
  new BrokerError('amqp:resource-limit-exceeded', `The maximum size of entity '${address}' has been reached.`)

export const invalidArgument = (description: string): BrokerError =>
  new BrokerError('com.microsoft:argument-error', description)

export const notAllowed = (description: string): BrokerError => new BrokerError('amqp:not-allowed', description)

export const unauthorized = (description: string): BrokerError =>
  new BrokerError('amqp:unauthorized-access', description)
