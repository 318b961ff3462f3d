import type { ServiceBusReceivedMessage, ServiceBusReceiver } from '@azure/service-bus'
import type { Slot, SlotPool } from '@sluice/resilience'
import type { ServiceBus } from './service-bus.ts'

/** Where to receive from. */
export type ReceiveSource = { queue: string } | { topic: string; subscription: string }

/** An SDK receiver that leaves locks and settlements to the loop, and bodies as the bytes that were sent. */
export function createReceiver({ client }: ServiceBus, source: ReceiveSource): ServiceBusReceiver {
  const options = { receiveMode: 'peekLock', maxAutoLockRenewalDurationInMs: 0, skipParsingBodyAsJson: true } as const
  return 'queue' in source
    ? client.createReceiver(source.queue, options)
    : client.createReceiver(source.topic, source.subscription, options)
}

interface ReceiveLinkOptions {
  receiver: ServiceBusReceiver
  pool: SlotPool
  /** Gets each message with the slot that was taken for it. Must not throw. */
  deliver(message: ServiceBusReceivedMessage, slot: Slot): void
  failed(error: Error): void
}

/**
 * One AMQP link with at most one credit, which stands for a slot that was taken before the credit was given. So the
 * broker never sends a message for which there is no slot, and no message waits here while its lock runs out.
 *
 * One credit a link, and several links, because of what the SDK's StreamingReceiver (7.9.5) does with more: whenever it
 * re-attaches it gives `maxConcurrentCalls` credits at once, whatever is still being worked on. With one, the credit of
 * the new link replaces the one that was lost with the old link, and the slot is the same. When there is no slot the
 * subscription is stopped, because then a re-attach must give no credit at all. (receiveMessages is no alternative: it
 * waits a second for more messages, and takes back its credit only by closing the link.)
 */
export class ReceiveLink {
  readonly #options: ReceiveLinkOptions
  #listening: AbortController | undefined
  /** Taken for the credit that the broker has; none while no credit is out. */
  #slot: Slot | undefined
  #unsubscribe: (() => Promise<void>) | undefined

  constructor(options: ReceiveLinkOptions) {
    this.#options = options
  }

  /** Receives until suspended, through any number of reconnects. */
  open(): void {
    if (this.#listening) return
    this.#listening = new AbortController()
    void this.#listen(this.#listening.signal)
  }

  /**
   * Takes the credit back. Messages that cross with it are still delivered; when the promise resolves there are no more.
   */
  async suspend(): Promise<void> {
    this.#listening?.abort()
    this.#listening = undefined
    try {
      await this.#unsubscribe?.()
    } finally {
      this.#slot?.release()
      this.#slot = undefined
    }
  }

  async close(): Promise<void> {
    await this.#options.receiver.close()
  }

  async #listen(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const slot = await this.#options.pool.acquire(signal).catch(() => undefined)
      if (!slot) return
      await this.#receiveWhileSlots(slot, signal)
    }
  }

  /** Gives a credit for `slot`, and another one after each message, until there is no further slot. */
  #receiveWhileSlots(slot: Slot, signal: AbortSignal): Promise<void> {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    // Also ends an attempt to attach that is under way: the next subscription must not find it competing.
    const attaching = new AbortController()
    const unsubscribe = async () => {
      attaching.abort()
      await subscription.close()
      end()
    }
    this.#slot = slot
    const subscription = this.#options.receiver.subscribe(
      {
        processMessage: async (message) => {
          await this.#take(message)
          this.#slot = signal.aborted ? undefined : this.#options.pool.tryAcquire()
          // The SDK gives the next credit when this function returns, unless the subscription is closed by then.
          if (!this.#slot) await unsubscribe()
        },
        processError: async ({ error }) => {
          if (!attaching.signal.aborted) this.#options.failed(error)
        },
      },
      { autoCompleteMessages: false, maxConcurrentCalls: 1, abortSignal: attaching.signal },
    )
    this.#unsubscribe = unsubscribe
    return ended
  }

  async #take(message: ServiceBusReceivedMessage): Promise<void> {
    // A message without a slot would mean a credit too many; it is locked already, so it waits for one.
    const slot = this.#slot ?? (await this.#options.pool.acquire())
    this.#slot = undefined
    this.#options.deliver(message, slot)
  }
}
