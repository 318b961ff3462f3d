import type { BrokerError } from '../broker-error.ts'
import {
  acceptedState,
  echoedStates,
  rejectedState,
  type RheaDelivery,
  type RheaSender,
  settleAlone,
} from './rhea-internals.ts'

const noData: Buffer[] = []
const idleWindow = 16

/**
 * The sending end of a link, with credit counted right. rhea queues transfers per session and blocks behind one without
 * credit, so nothing may be queued beyond the credit that is left after what is queued already.
 */
export class OutgoingLink {
  readonly sender: RheaSender
  #queued = 0
  #drained = 0
  #reserved = 0

  constructor(sender: RheaSender) {
    this.sender = sender
    // rhea reports a drain as done only while credit is left; a client whose last credit went to a message waits forever.
    sender._get_drain = () => {
      if (!sender._draining || !sender._drained) return false
      sender.delivery_count += sender.credit
      sender.credit = 0
      return true
    }
    const onFlow = sender.on_flow.bind(sender)
    sender.on_flow = (frame) => {
      onFlow(frame)
      if (frame.performative.echo && !frame.performative.drain) {
        sender.issue_flow = true
        sender.connection._register()
      }
    }
  }

  get isOpen(): boolean {
    return this.sender.is_open()
  }

  /** How many messages may be handed over now. */
  get capacity(): number {
    const { sender } = this
    const credit = sender.credit - (this.#queued + this.#drained - sender.delivery_count) - this.#reserved
    const room = sender.session.outgoing.available() - (sender.session.reserved ?? 0) - idleWindow
    return sender.is_open() ? Math.min(credit, room) : 0
  }

  /** Sets credit aside for a message that is sent later. */
  reserve(): void {
    this.#reserved++
    this.sender.session.reserved = (this.sender.session.reserved ?? 0) + 1
  }

  release(): void {
    this.#reserved--
    this.sender.session.reserved = (this.sender.session.reserved ?? 1) - 1
  }

  send(payload: Buffer, tag: Buffer | undefined, settled: boolean): RheaDelivery {
    this.#queued++
    const delivery = this.sender.send(payload, tag, 0) as unknown as RheaDelivery
    if (settled) delivery.settled = true
    return delivery
  }

  /** Uses up the credit that is left and tells the client so, behind what is already queued. */
  drain(): void {
    this.#drained += Math.max(0, this.sender.credit - (this.#queued + this.#drained - this.sender.delivery_count))
    this.sender.set_drained(true)
    this.sender.connection._register()
  }

  /** Confirms a settlement that was carried out, by echoing its outcome. */
  confirm(delivery: RheaDelivery, outcome: keyof typeof echoedStates): void {
    this.#settle(delivery, echoedStates[outcome])
  }

  reject(delivery: RheaDelivery, error: BrokerError): void {
    this.#settle(delivery, rejectedState(error.condition, error.message))
  }

  /**
   * Settles without telling the client, for a delivery whose lock is lost: its bytes and its place in the buffer are free.
   * One that still waits for the client's window goes out settled.
   */
  forget(delivery: RheaDelivery): void {
    delivery.settled = true
    if (delivery.id >= this.sender.session.outgoing.next_pending_delivery) return
    delivery.remote_settled = true
    delivery.data = noData
    this.sender.connection._register()
  }

  // rhea leaves a delivery that the broker settles first in its buffer until the client settles too, which it never does.
  #settle(delivery: RheaDelivery, state: unknown): void {
    if (state === acceptedState) delivery.update(true, state)
    else settleAlone(delivery, this.sender.session, 'sender', state)
    delivery.remote_settled = true
    delivery.data = noData
  }

  close(error?: BrokerError): void {
    this.sender.close(error === undefined ? undefined : { condition: error.condition, description: error.message })
  }
}
