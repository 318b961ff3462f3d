import type { ParsedMessage } from '../amqp/parse-message.ts'
import type { BrokerContext } from '../broker-context.ts'
import type { Timer } from '../scheduler.ts'
import type { StoredEvent } from '../store/journal.ts'
import type { EventPosition } from './event-position.ts'

const firstSequenceNumber = 0
const sweepIntervalMs = 60_000

/** An append-only log of events. Readers keep their own cursors; events leave only when their retention ends. */
export class Partition {
  readonly id: string
  readonly #context: BrokerContext
  readonly #entity: number
  readonly #retentionMs: number
  readonly #readers = new Set<() => void>()
  #events: StoredEvent[] = []
  /** Sequence number of the first event that is kept. */
  #begin = firstSequenceNumber
  #nextOffset = 0
  #last: StoredEvent | undefined
  /** Events below this number are committed and may be read. */
  #visibleEnd = firstSequenceNumber
  #timer: Timer | undefined

  constructor(context: BrokerContext, hub: string, id: string, retentionMs: number) {
    this.id = id
    this.#context = context
    this.#retentionMs = retentionMs
    this.#entity = context.journal.entityId(`event-hubs:${hub.toLowerCase()}/${id}`)
  }

  get entity(): number {
    return this.#entity
  }

  get properties(): { begin: number; last: StoredEvent | undefined; isEmpty: boolean } {
    return { begin: this.#begin, last: this.#last, isEmpty: this.#events.length === 0 }
  }

  append(messages: ParsedMessage[]): void {
    const enqueuedAtMs = this.#context.clock.now()
    for (const message of messages) {
      const event: StoredEvent = {
        sequenceNumber: this.#end,
        offset: this.#nextOffset,
        enqueuedAtMs,
        partitionKey: message.partitionKey,
        annotations: message.annotations,
        annotationCount: message.annotationCount,
        bare: message.bare,
      }
      this.#keep(event)
      this.#context.journal.appendEvent(this.#entity, event)
    }
    const end = this.#end
    this.#context.journal.afterCommit(() => {
      this.#visibleEnd = end
      for (const wake of this.#readers) wake()
    })
    this.#scheduleSweep()
  }

  restore(event: StoredEvent): void {
    if (this.#last === undefined) this.#begin = event.sequenceNumber
    this.#keep(event)
    this.#visibleEnd = this.#end
    this.#scheduleSweep()
  }

  /** The event with this number, or the first one after it that is kept; undefined when there is none yet. */
  read(sequenceNumber: number): StoredEvent | undefined {
    const at = Math.max(sequenceNumber, this.#begin)
    return at < this.#visibleEnd ? this.#events[at - this.#begin] : undefined
  }

  /** The sequence number at which a reader that asks for this position starts. */
  locate(position: EventPosition): number {
    if (position.from === 'start') return this.#begin
    if (position.from === 'end') return this.#end
    const { from, value, inclusive } = position
    const keyOf = (event: StoredEvent): number =>
      from === 'offset' ? event.offset : from === 'sequence-number' ? event.sequenceNumber : event.enqueuedAtMs
    let low = 0
    for (let high = this.#events.length; low < high;) {
      const middle = (low + high) >>> 1
      const event = this.#events[middle]
      const key = event === undefined ? Infinity : keyOf(event)
      if (inclusive ? key < value : key <= value) low = middle + 1
      else high = middle
    }
    return this.#begin + low
  }

  /** Calls `wake` whenever events have become readable. @returns a function that ends this */
  onAppend(wake: () => void): () => void {
    this.#readers.add(wake)
    return () => this.#readers.delete(wake)
  }

  clear(): void {
    this.#begin = this.#end
    this.#events = []
  }

  get #end(): number {
    return this.#begin + this.#events.length
  }

  #keep(event: StoredEvent): void {
    this.#events.push(event)
    this.#last = event
    this.#nextOffset = event.offset + event.bare.length + event.annotations.length
  }

  #scheduleSweep(): void {
    const oldest = this.#events[0]
    if (oldest === undefined || this.#timer !== undefined || this.#retentionMs === Infinity) return
    const atMs = Math.max(
      oldest.enqueuedAtMs + this.#retentionMs,
      this.#context.clock.now() + Math.min(sweepIntervalMs, this.#retentionMs),
    )
    this.#timer = this.#context.scheduler.at(atMs, () => {
      this.#timer = undefined
      this.#sweep()
      this.#scheduleSweep()
    })
  }

  #sweep(): void {
    const keepFrom = this.#context.clock.now() - this.#retentionMs
    const at = this.#events.findIndex((event) => event.enqueuedAtMs > keepFrom)
    const gone = at < 0 ? this.#events.length : at
    if (gone === 0) return
    this.#events.splice(0, gone)
    this.#begin += gone
    this.#context.journal.removeEventsBefore(this.#entity, this.#begin)
  }
}
