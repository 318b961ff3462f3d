import type { ServiceBusReceivedMessage, ServiceBusReceiver } from '@azure/service-bus'
import { type Slot, type SlotSource, sleep } from '@sluice/resilience'
import type { ServiceBus } from './service-bus.ts'
import { followLink } from './streaming-internals.ts'

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
  pool: SlotSource
  /** Gets each message with the slot that was taken for it. Must not throw. */
  deliver: (message: ServiceBusReceivedMessage, slot: Slot) => void
  /** The broker does not let this link receive; it is tried again. */
  failed: (error: Error) => void
  /** There is a link, the first one or one after a reconnect. */
  attached: () => void
}

interface OpenLink {
  stop: AbortController
  subscription: { close(): Promise<void> }
  topUp: () => void
  /** Resolves with the first link that the broker accepted. */
  attached: Promise<void>
}

/** How long a suspension waits for a link that is only being made. */
const firstLinkMs = 1000

/**
 * An AMQP link whose credit is always the number of slots that were taken for it. So the broker never sends a message
 * for which there is no slot, and no message waits here while its lock runs out. When the link is lost its credit is
 * lost with it, the slots stay, and the next link gets as much credit as there are slots then.
 */
export class ReceiveLink {
  readonly #options: ReceiveLinkOptions
  /** One for each credit that the broker has, or will have when the link is attached. */
  #slots: Slot[] = []
  #open: OpenLink | undefined
  #waiting = false
  #turn: Promise<void> = Promise.resolve()

  constructor(options: ReceiveLinkOptions) {
    this.#options = options
  }

  /** Receives until suspended, through any number of reconnects. */
  open(): void {
    this.#inTurn(async () => this.#subscribe()).catch(this.#options.failed)
  }

  /** Takes the credit back. Messages that cross with it are still delivered; afterwards there are no more. */
  suspend(): Promise<void> {
    return this.#inTurn(() => this.#unsubscribe())
  }

  async close(): Promise<void> {
    await this.#options.receiver.close()
  }

  // One after the other: what is opened while a suspension waits for the broker must not lose its slots to it.
  #inTurn(step: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(step)
    this.#turn = done.catch(() => undefined)
    return done
  }

  #subscribe(): void {
    if (this.#open) return
    const { receiver, failed, attached } = this.#options
    const stop = new AbortController()
    const subscription = receiver.subscribe(
      {
        processMessage: (message) => this.#take(message),
        processError: async ({ error }) => {
          if (!stop.signal.aborted) failed(error)
        },
      },
      { autoCompleteMessages: false, abortSignal: stop.signal },
    )
    const first = Promise.withResolvers<void>()
    const topUp = followLink(receiver, {
      wantedCredit: () => this.#slots.length,
      attached: () => {
        first.resolve()
        attached()
      },
      take: (message) => void this.#take(message),
    })
    this.#open = { stop, subscription, topUp, attached: first.promise }
    this.#refill()
  }

  async #unsubscribe(): Promise<void> {
    const open = this.#open
    this.#open = undefined
    try {
      // Told to give up a link while the connection is being made, the SDK closes that connection under everybody who
      // shares it: a sender then fails, or waits for an answer that cannot come.
      if (open !== undefined) await Promise.race([open.attached, sleep(firstLinkMs)])
      open?.stop.abort()
      await open?.subscription.close()
    } finally {
      for (const slot of this.#slots.splice(0)) slot.release()
    }
  }

  async #take(message: ServiceBusReceivedMessage): Promise<void> {
    // A message without a slot would mean a credit too many. It is locked already, so it waits for a slot.
    const slot = this.#slots.shift() ?? (await this.#options.pool.acquire())
    this.#options.deliver(message, slot)
    this.#refill()
  }

  /**
   * Takes slots for up to half of the pool: that many messages may come at once, and whoever shares the pool finds the
   * other half. Where slots are lent, an idle link begins with those that nobody else could use, and then holds as many
   * in readiness as are at work. When there is no slot this waits in line for one, not for all that it could use.
   */
  #refill(): void {
    if (!this.#open || this.#waiting) return
    const { pool } = this.#options
    const half = Math.max(1, Math.floor(pool.size / 2))
    const kept = pool.kept ?? half
    while (this.#slots.length < Math.min(half, Math.max(1, kept, pool.inUse - this.#slots.length))) {
      const slot = pool.tryAcquire()
      if (!slot) {
        void this.#waitForSlot(this.#open.stop.signal)
        break
      }
      this.#slots.push(slot)
    }
    this.#open.topUp()
  }

  async #waitForSlot(signal: AbortSignal): Promise<void> {
    this.#waiting = true
    const slot = await this.#options.pool.acquire(signal).catch(() => undefined)
    this.#waiting = false
    if (slot && signal.aborted) slot.release()
    else if (slot) this.#slots.push(slot)
    this.#refill()
  }
}
