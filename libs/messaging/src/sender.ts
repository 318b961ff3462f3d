import { randomUUID } from 'node:crypto'
import type { ServiceBusMessage, ServiceBusSender } from '@azure/service-bus'
import { AppError } from '@sluice/errors'
import { withDeadline } from '@sluice/resilience'
import { Coalescer } from './coalescer.ts'
import { encodeBody, type OutgoingBody } from './encode-body.ts'
import type { ServiceBus } from './service-bus.ts'
import { isRefusal, translateServiceBus } from './translate-error.ts'

export interface OutgoingMessage {
  body: OutgoingBody
  /** Fresh unless given: duplicate detection would silently drop a re-send that matters. */
  messageId?: string | undefined
  subject?: string | undefined
  correlationId?: string | undefined
  contentType?: string | undefined
  replyTo?: string | undefined
  replyToSessionId?: string | undefined
  sessionId?: string | undefined
  properties?: Record<string, string | number | boolean | Date | null> | undefined
}

/** A queue's or topic's sending side; see {@link Coalescer} for how concurrent sends become batches. */
export interface Sender {
  /** Resolves when the broker has stored the message. @throws AppError `message_too_large` or `queue_unavailable` */
  send(message: OutgoingMessage, signal?: AbortSignal): Promise<void>
  /**
   * Hands the message to the broker's own timer. @returns its sequence number, with which it could be cancelled
   * @throws AppError `message_too_large` or `queue_unavailable`
   */
  schedule(message: OutgoingMessage, at: Date, signal?: AbortSignal): Promise<string>
  /** Resolves when the link stands, opening it where it does not; for readiness. @throws AppError `queue_unavailable` */
  check(signal: AbortSignal): Promise<void>
  /** Waits for what is under way, then closes the link. */
  close(): Promise<void>
}

const sendDeadlineMs = 10_000
const maxPending = 10_000

/** @param entity a queue or topic */
export function createSender(serviceBus: ServiceBus, entity: string): Sender {
  const sender = serviceBus.client.createSender(entity)
  const translate = (error: unknown) => translateServiceBus(error, `send to ${entity}`)
  const coalescer = new Coalescer<ServiceBusMessage>(
    {
      createBatch: async (_, signal) => {
        const batch = await sender.createMessageBatch({ abortSignal: signal })
        return {
          add: (message) => batch.tryAddMessage(message),
          send: (signal) => sender.sendMessages(batch, { abortSignal: signal }),
        }
      },
      isRefusal,
      translate,
    },
    { name: `send to ${entity}`, deadlineMs: sendDeadlineMs, maxPending },
  )
  return {
    // A partitioned entity takes only batches of one partition, and a session is a partition key.
    send: (message, signal) => coalescer.send(message.sessionId ?? '', toMessage(message), signal),
    schedule: (message, at, signal) => schedule(sender, toMessage(message), at, signal, translate),
    check: async (abortSignal) => {
      // The link's own limit is what a batch is made with, so an empty one needs the link and sends nothing.
      await sender.createMessageBatch({ abortSignal }).catch((error: unknown) => {
        throw translate(error)
      })
    },
    close: async () => {
      await coalescer.close()
      await sender.close()
    },
  }
}

async function schedule(
  sender: ServiceBusSender,
  message: ServiceBusMessage,
  at: Date,
  signal: AbortSignal | undefined,
  translate: (error: unknown) => AppError,
): Promise<string> {
  const overrun = () => new AppError('queue_unavailable', 'schedule: not confirmed in time, the outcome is unknown')
  try {
    const scheduled = (abortSignal: AbortSignal) => sender.scheduleMessages(message, at, { abortSignal })
    const numbers = await withDeadline(sendDeadlineMs, signal, scheduled, overrun)
    return String(numbers[0])
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    throw translate(error)
  }
}

function toMessage({ body, properties, messageId, ...fields }: OutgoingMessage): ServiceBusMessage {
  const present = Object.entries(fields).filter(([, value]) => value !== undefined)
  return {
    ...Object.fromEntries(present),
    body: encodeBody(body),
    messageId: messageId ?? randomUUID(),
    ...(properties === undefined ? {} : { applicationProperties: properties }),
  }
}
