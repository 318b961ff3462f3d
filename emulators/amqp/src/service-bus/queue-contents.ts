import type { PackedBytes } from '../amqp/packed-bytes.ts'
import type { BrokerContext } from '../broker-context.ts'
import type { BrokeredMessage, MessageState } from './brokered-message.ts'
import { SequenceIndex } from './sequence-index.ts'

/** The messages of one entity by sequence number, in memory and in the journal alike. */
export class QueueContents {
  readonly entity: number
  bytes = 0
  readonly #context: BrokerContext
  readonly #messages = new Map<number, BrokeredMessage>()
  readonly #index = new SequenceIndex()
  #lastSequenceNumber = 0

  constructor(context: BrokerContext, path: string) {
    this.#context = context
    this.entity = context.journal.entityId(path.toLowerCase())
  }

  get size(): number {
    return this.#messages.size
  }

  get(sequenceNumber: number): BrokeredMessage | undefined {
    return this.#messages.get(sequenceNumber)
  }

  nextSequenceNumber(): number {
    this.#lastSequenceNumber++
    this.#context.journal.saveSequence(this.entity, this.#lastSequenceNumber)
    return this.#lastSequenceNumber
  }

  restoreSequence(lastSequenceNumber: number): void {
    this.#lastSequenceNumber = Math.max(this.#lastSequenceNumber, lastSequenceNumber)
  }

  insert(message: BrokeredMessage): void {
    this.restore(message)
    this.#context.journal.insertMessage(this.entity, message)
  }

  restore(message: BrokeredMessage): void {
    this.#messages.set(message.sequenceNumber, message)
    this.#index.add(message.sequenceNumber)
    this.bytes += message.bare.length
    this.#context.memory.keep(message.bare.length)
  }

  remove(message: BrokeredMessage): void {
    if (!this.#messages.delete(message.sequenceNumber)) return
    this.#index.remove((sequenceNumber) => this.#messages.has(sequenceNumber))
    this.bytes -= message.bare.length
    this.#context.memory.free(message.bare.length)
    this.#context.journal.removeMessage(message.rowId)
  }

  /** Records state, lock and delivery count. */
  updated(message: BrokeredMessage): void {
    this.#context.journal.updateMessage(message)
  }

  /** Gives the message a new bare part and records all of it. */
  rewrite(message: BrokeredMessage, bare: PackedBytes): void {
    this.bytes += bare.length - message.bare.length
    message.bare = bare
    this.#context.journal.replaceMessage(message)
  }

  count(state: MessageState): number {
    let count = 0
    for (const message of this.#messages.values()) if (message.state === state) count++
    return count
  }

  all(): Iterable<BrokeredMessage> {
    return this.#messages.values()
  }

  /** Messages from a sequence number upwards, in order. */
  *from(sequenceNumber: number): Generator<BrokeredMessage> {
    for (const number of this.#index.from(sequenceNumber)) {
      const message = this.#messages.get(number)
      if (message !== undefined) yield message
    }
  }

  clear(): void {
    this.#messages.clear()
    this.#index.remove(() => false)
    this.bytes = 0
  }
}
