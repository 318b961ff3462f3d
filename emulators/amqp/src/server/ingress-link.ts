import { AmqpDecodeError } from '../amqp/decode-error.ts'
import { parseMessage, splitBatch, type ParsedMessage } from '../amqp/parse-message.ts'
import { BrokerError, messageTooLarge } from '../broker-error.ts'
import type { FaultPlan } from '../control/fault-plan.ts'
import type { Clock } from '../clock.ts'
import type { Journal } from '../store/journal.ts'
import { acceptedState, rejectedState, type RheaDelivery, type RheaReceiver, settleAlone } from './rhea-internals.ts'

/** Where a client's sends go. */
export type Ingress = {
  path: string
  /** Takes the messages of one transfer in, all or none. @throws BrokerError */
  publish(messages: ParsedMessage[], envelopePartitionKey: string | undefined): void
}

export type SizeLimits = { messageBytes: number; batchBytes: number }

type Parts = {
  receiver: RheaReceiver
  ingress: Ingress
  journal: Journal
  faults: FaultPlan
  limits: SizeLimits
  clock: Clock
}

const creditWindow = 1000
const batchFormat = 0x80013700

/** Serves a client's sender: transfers in, acceptances out once they are committed. */
export const serveIngress = (parts: Parts): void => {
  const link = new IngressLink(parts)
  parts.receiver.on('message', (context: unknown) => {
    const { message, delivery } = context as { message: Buffer; delivery: RheaDelivery }
    link.receive(message, delivery)
  })
}

class IngressLink {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
    const { receiver, limits } = parts
    receiver.maxBytes = limits.batchBytes
    receiver.local.attach['max_message_size'] = limits.batchBytes
    receiver.add_credit(creditWindow)
  }

  receive(bytes: Buffer, delivery: RheaDelivery): void {
    const { receiver, ingress, faults, clock } = this.#parts
    const oversizedBytes = receiver.oversizedBytes
    receiver.oversizedBytes = 0
    if (receiver.credit < creditWindow / 2) receiver.add_credit(creditWindow - receiver.credit)
    const delayMs = faults.delayMs('send', ingress.path)
    if (delayMs > 0) clock.after(delayMs, () => this.#take(bytes, delivery, oversizedBytes))
    else this.#take(bytes, delivery, oversizedBytes)
  }

  #take(bytes: Buffer, delivery: RheaDelivery, oversizedBytes: number | undefined): void {
    const { ingress, faults, journal, limits } = this.#parts
    try {
      if (oversizedBytes) throw messageTooLarge(oversizedBytes, limits.batchBytes)
      faults.check('send', ingress.path)
      const { messages, partitionKey } = this.#unpack(bytes, delivery.format)
      ingress.publish(messages, partitionKey)
      journal.afterCommit(() => delivery.update(true, acceptedState))
    } catch (error) {
      const { condition, message } = asBrokerError(error)
      settleAlone(delivery, this.#parts.receiver.session, 'receiver', rejectedState(condition, message))
    }
  }

  #unpack(
    bytes: Buffer,
    format: number | null | undefined,
  ): { messages: ParsedMessage[]; partitionKey: string | undefined } {
    if (format !== batchFormat) {
      this.#checkSize(bytes)
      return { messages: [parseMessage(bytes)], partitionKey: undefined }
    }
    const { messages, partitionKey } = splitBatch(bytes)
    for (const message of messages) this.#checkSize(message)
    return { messages: messages.map(parseMessage), partitionKey }
  }

  #checkSize(message: Buffer): void {
    if (message.length > this.#parts.limits.messageBytes)
      throw messageTooLarge(message.length, this.#parts.limits.messageBytes)
  }
}

const asBrokerError = (error: unknown): BrokerError => {
  if (error instanceof BrokerError) return error
  if (error instanceof AmqpDecodeError) return new BrokerError('amqp:decode-error', error.message)
  throw error
}
