import type { ServiceBusReceivedMessage, ServiceBusReceiver } from '@azure/service-bus'
import { takeFromLink } from './link-shortcut.ts'

/**
 * Everything that the product knows of the inside of @azure/service-bus. The version is pinned to 7.9.5; the tests of
 * reconnects and of messages in flight fail when it no longer holds, and `followLink` throws when it cannot hold.
 */
interface ReceiverInternals {
  _streamingReceiver?: {
    /** The present AMQP link; `credit` is what the broker may still send on it. */
    readonly link?: { readonly credit: number } | undefined
    readonly _receiverHelper: { addCredit(credit: number): void }
  }
}

interface MessageInternals {
  delivery: { link?: { is_open(): boolean } | undefined }
}

interface LinkFollower {
  /** The most that the broker may send, at any moment; it has at least half of that. */
  wantedCredit: () => number
  /** A new link is there: after `subscribe`, and after every reconnect. */
  attached: () => void
  /** Gets the messages of every link. */
  take: (message: ServiceBusReceivedMessage) => void
}

/**
 * Makes the credit of a subscribed receiver follow `wantedCredit`, which no option of the SDK does: it gives
 * `maxConcurrentCalls` credits whenever it attaches a link, whatever is still being worked on, and one whenever a handler
 * returns. Both go through one method (ReceiverHelper.addCredit), replaced here by one that tops up to what is wanted; so
 * it does not matter when, or how often, the SDK calls it. Rejected: receiveMessages, which waits a second for further
 * messages and takes back credit only by closing the link; a link with one credit for each slot, which needs no
 * internals and costs three times the CPU a message.
 * @returns a function that tops up; without a link it does nothing, because attaching one tops up
 * @throws Error when the SDK's inside is not what is expected
 */
export function followLink(receiver: ServiceBusReceiver, follower: LinkFollower): () => void {
  const streaming = (receiver as unknown as ReceiverInternals)._streamingReceiver
  const helper = streaming?._receiverHelper
  if (typeof helper?.addCredit !== 'function') {
    throw new Error('this version of @azure/service-bus gives credit in a way that is not known here')
  }
  // On the prototype: a receiver that is subscribed again still has the replacement of the time before.
  const addCredit = (credit: number) => Object.getPrototypeOf(helper).addCredit.call(helper, credit)
  let link: object | undefined
  let shortened: object | undefined
  helper.addCredit = () => {
    const present = streaming?.link
    if (present !== undefined && present !== shortened) {
      // Before the first credit, and so before the first message.
      takeFromLink(present, follower.take)
      shortened = present
    }
    const wanted = follower.wantedCredit()
    const missing = wanted - (present?.credit ?? 0)
    // Half at a time: a flow frame of its own for every credit is a third of what receiving costs.
    if (missing > 0 && missing * 2 >= wanted) addCredit(missing)
    if (present === link) return
    link = present
    follower.attached()
  }
  return () => {
    try {
      helper.addCredit(1)
    } catch {
      // There is no open link, or it is suspended.
    }
  }
}

/**
 * Lets a message whose link is gone be settled over the management link, where its lock token counts. The SDK means to do
 * so itself, but looks the receiver up by the old link's name, finds it open again under its new one, and then waits on
 * the old link for an answer that cannot come, attempt after attempt.
 */
export function forgetLostLink(message: ServiceBusReceivedMessage): void {
  const { delivery } = message as unknown as MessageInternals
  if (delivery.link?.is_open() === false) delivery.link = undefined
}
