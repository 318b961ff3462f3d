import { AmqpDecodeError } from '../amqp/decode-error.ts'
import { BrokerError, invalidArgument } from '../broker-error.ts'
import type { Clock } from '../clock.ts'
import type { FaultPlan } from '../control/fault-plan.ts'
import type { Journal } from '../store/journal.ts'
import { encodeResponse, errorResponse, ManagementRequest, type ManagementResponse } from './management-request.ts'
import { OutgoingLink } from './outgoing-link.ts'
import {
  acceptedState,
  rejectedState,
  settleAlone,
  type RheaDelivery,
  type RheaReceiver,
  type RheaSender,
} from './rhea-internals.ts'

export type RequestHandler = (request: ManagementRequest) => ManagementResponse

const creditWindow = 1000
const mostWaiting = 5000

/** The link on which the answers of a request-response node go out. Without credit they wait, up to a bound. */
export class ReplyLink {
  readonly #link: OutgoingLink
  readonly #waiting: Buffer[] = []

  constructor(sender: RheaSender) {
    this.#link = new OutgoingLink(sender)
    sender.on('sender_flow', () => this.#flush())
  }

  send(payload: Buffer): void {
    if (this.#waiting.length >= mostWaiting)
      this.#link.close(new BrokerError('amqp:resource-limit-exceeded', 'Too many unread responses.'))
    else this.#waiting.push(payload)
    this.#flush()
  }

  #flush(): void {
    while (this.#waiting.length > 0 && this.#link.capacity > 0)
      this.#link.send(this.#waiting.shift() ?? Buffer.alloc(0), undefined, true)
  }
}

type Parts = {
  receiver: RheaReceiver
  handle: RequestHandler
  replyLink: (replyTo: string) => ReplyLink | undefined
  journal: Journal
  faults: FaultPlan
  clock: Clock
  path: string
  maxBytes: number
}

/** Receives the requests of a $management or $cbs node and answers them on the link that their reply-to names. */
export const serveRequests = (parts: Parts): void => {
  const { receiver, replyLink, journal, faults, clock, path } = parts
  receiver.maxBytes = parts.maxBytes
  const answer = (bytes: Buffer, delivery: RheaDelivery, oversized: boolean): void => {
    let request: ManagementRequest
    try {
      if (oversized) throw new AmqpDecodeError('request too large')
      request = new ManagementRequest(bytes)
    } catch (error) {
      const why = error instanceof Error ? error.message : 'malformed request'
      settleAlone(delivery, receiver.session, 'receiver', rejectedState('amqp:decode-error', why))
      return
    }
    const response = respond(parts, request)
    journal.afterCommit(() => {
      delivery.update(true, acceptedState)
      replyLink(request.replyTo ?? '')?.send(encodeResponse(request.messageId, response))
    })
  }
  receiver.on('message', (context: unknown) => {
    const { message, delivery } = context as { message: Buffer; delivery: RheaDelivery }
    const oversized = Boolean(receiver.oversizedBytes)
    receiver.oversizedBytes = 0
    if (receiver.credit < creditWindow / 2) receiver.add_credit(creditWindow - receiver.credit)
    const delayMs = faults.delayMs('management', path)
    if (delayMs > 0) clock.after(delayMs, () => answer(message, delivery, oversized))
    else answer(message, delivery, oversized)
  })
  receiver.add_credit(creditWindow)
}

const respond = ({ handle, faults, path }: Parts, request: ManagementRequest): ManagementResponse => {
  try {
    faults.check('management', path)
    return handle(request)
  } catch (error) {
    if (error instanceof BrokerError) return errorResponse(error)
    if (error instanceof AmqpDecodeError) return errorResponse(invalidArgument(error.message))
    throw error
  }
}
