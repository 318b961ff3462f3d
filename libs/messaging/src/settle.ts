import type { ServiceBusReceivedMessage, ServiceBusReceiver } from '@azure/service-bus'
import { type Clock, fullJitter, sleep } from '@sluice/resilience'
import type { HeldLock } from './held-lock.ts'
import { LinkMessage } from './link-message.ts'
import type { OutcomeGate } from './outcome-gate.ts'
import type { Settlement } from './settlement.ts'
import { isLockLost, isTransient } from './translate-error.ts'

const backoff = fullJitter({ baseMs: 200, capMs: 2000 })
const settleDeadlineMs = 30_000
// Service Bus refuses a dead-letter reason or description beyond 4096 characters.
const maxDeadLetterText = 4096

/** What settles: a queue's receiver or a session's. */
export type Settler = Pick<
  ServiceBusReceiver,
  'completeMessage' | 'abandonMessage' | 'deadLetterMessage' | 'deferMessage'
>

interface SettleOptions {
  receiver: Settler
  clock: Clock
  lock: HeldLock
  /** Of the link that the message came on. */
  gate: OutcomeGate
}

/**
 * Carries out a settlement. An attempt that failed on the way is made again, with the same outcome, while the lock holds,
 * for up to half a minute: the work is done, and what a reconnect costs here is less than doing it twice.
 * @returns false when the lock was lost, so that the broker delivers the message again
 * @throws the last error when it could not be carried out
 */
export async function settle(
  message: ServiceBusReceivedMessage,
  settlement: Settlement,
  { receiver, clock, lock, gate }: SettleOptions,
): Promise<boolean> {
  const giveUpAtMs = clock.monotonic() + settleDeadlineMs
  for (let attempt = 1; !lock.lost; attempt++) {
    try {
      const isCompletion = settlement.kind === 'complete'
      if (!gate.tryPass(isCompletion)) await gate.pass(isCompletion)
      if ((await carryOut(receiver, message, settlement)) !== 'unanswered') return true
    } catch (error) {
      if (isLockLost(error)) return false
      const again = isTransient(error) && clock.monotonic() < giveUpAtMs
      if (!again) throw error
      await sleep(backoff(attempt), { clock })
    }
  }
  return false
}

// Each of these is sent before it first awaits something, in the turn that the gate admitted.
async function carryOut(receiver: Settler, message: ServiceBusReceivedMessage, settlement: Settlement) {
  switch (settlement.kind) {
    case 'complete':
      return (message instanceof LinkMessage ? message.complete() : undefined) ?? receiver.completeMessage(message)
    case 'retry':
      return receiver.abandonMessage(message)
    case 'dead-letter':
      return receiver.deadLetterMessage(message, {
        deadLetterReason: settlement.reason.slice(0, maxDeadLetterText),
        deadLetterErrorDescription: settlement.description.slice(0, maxDeadLetterText),
      })
    case 'defer':
      return receiver.deferMessage(message)
    default:
      return settlement satisfies never
  }
}
