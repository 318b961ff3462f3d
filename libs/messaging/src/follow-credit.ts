import type { ServiceBusReceiver } from '@azure/service-bus'

/**
 * What this file knows of the inside of @azure/service-bus 7.9.5 (StreamingReceiver, ReceiverHelper), whose version is
 * pinned. The test "no more messages are in flight than slots, through a reconnect" fails when it no longer holds.
 */
interface Internals {
  _streamingReceiver?: {
    /** The present AMQP link; `credit` is what the broker may still send on it. */
    readonly link?: { readonly credit: number } | undefined
    readonly _receiverHelper: { addCredit(credit: number): void }
  }
}

/**
 * Makes the credit of a subscribed receiver follow `wanted`, which is what no option of the SDK does: it gives
 * `maxConcurrentCalls` credits whenever it attaches a link, whatever is still being worked on, and one whenever a handler
 * returns. Both go through one method, which is replaced here by one that tops up to what is wanted; so it does not
 * matter when, or how often, the SDK calls it. (receiveMessages is no alternative: it waits a second for further
 * messages, and takes credit back only by closing the link. A link for each credit needs no internals and costs three
 * times the CPU a message.)
 * @returns a function that tops up; without a link it does nothing, because attaching one tops up
 * @throws Error when the SDK's inside is not what is expected
 */
export function followCredit(receiver: ServiceBusReceiver, wanted: () => number): () => void {
  const streaming = (receiver as unknown as Internals)._streamingReceiver
  const helper = streaming?._receiverHelper
  if (typeof helper?.addCredit !== 'function') {
    throw new Error('this version of @azure/service-bus gives credit in a way that is not known here')
  }
  const addCredit = helper.addCredit.bind(helper)
  helper.addCredit = () => {
    const missing = wanted() - (streaming?.link?.credit ?? 0)
    if (missing > 0) addCredit(missing)
  }
  return () => {
    try {
      helper.addCredit(1)
    } catch {
      // There is no open link, or it is suspended.
    }
  }
}
