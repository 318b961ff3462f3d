import type { BrokeredMessage, LockOwner } from './brokered-message.ts'

export type ReceiveMode = 'peek-lock' | 'receive-and-delete'

/** A receiving link as a queue sees it. */
export interface Consumer extends LockOwner {
  readonly mode: ReceiveMode
  /** How many more messages it can take now. */
  capacity(): number
  /** Hands over a message that is locked for it, or already removed in receive-and-delete mode. */
  deliver(message: BrokeredMessage): void
}
