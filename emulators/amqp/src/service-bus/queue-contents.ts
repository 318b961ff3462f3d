import type { PackedBytes } from '../amqp/packed-bytes.ts'
import type { BrokerContext } from '../broker-context.ts'
import type { BrokeredMessage, LoadedMessage, MessageState } from './brokered-message.ts'
import { SequenceIndex } from './sequence-index.ts'

/**
 * The messages of one entity by sequence number, in memory and in the journal alike. What arrives while memory holds
 * plenty leaves its bare part to the journal, from which it is read when it is needed.
 */
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

  insert(message: LoadedMessage): void {
    this.#context.journal.insertMessage(this.entity, message)
    this.restore(message)
  }

  restore(message: BrokeredMessage): void {
    this.#messages.set(message.sequenceNumber, message)
    this.#index.add(message.sequenceNumber)
    this.bytes += message.bareBytes
    const { journal, memory } = this.#context
    if (journal.readBare !== undefined && memory.isFull) message.bare = undefined
    memory.keep(message.bareBytes, message.bare !== undefined)
  }

  /** The bare part of a message that is here or was taken from here. */
  bareOf(message: BrokeredMessage): PackedBytes {
    const bare = message.bare ?? this.#context.journal.readBare?.(message.rowId)
    if (bare === undefined) throw new Error(`message ${message.sequenceNumber} has left the journal`)
    return bare
  }

  /** Removes a message that goes on elsewhere, with its bare part. */
  take(message: BrokeredMessage): LoadedMessage {
    const bare = this.bareOf(message)
    this.remove(message)
    return Object.assign(message, { bare })
  }

  remove(message: BrokeredMessage): void {
    if (!this.#messages.delete(message.sequenceNumber)) return
    this.#index.remove((sequenceNumber) => this.#messages.has(sequenceNumber))
    this.bytes -= message.bareBytes
    this.#context.memory.free(message.bareBytes, message.bare !== undefined)
    this.#context.journal.removeMessage(message.rowId)
  }

  /** Records state, lock and delivery count. */
  updated(message: BrokeredMessage): void {
    this.#context.journal.updateMessage(message)
  }

  /** Gives the message a new bare part and records all of it. */
  rewrite(message: BrokeredMessage, bare: PackedBytes): void {
    const growth = bare.length - message.bareBytes
    this.bytes += growth
    message.bareBytes = bare.length
    if (message.bare !== undefined) message.bare = bare
    this.#context.memory.keep(growth, message.bare !== undefined)
    this.#context.journal.replaceMessage(message, bare)
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
