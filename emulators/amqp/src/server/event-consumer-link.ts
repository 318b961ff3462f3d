import type { BrokerError } from '../broker-error.ts'
import type { Clock } from '../clock.ts'
import { encodeEvent, encodeRuntimeMetrics } from '../event-hubs/encode-event.ts'
import type { Partition } from '../event-hubs/partition.ts'
import { OutgoingLink } from './outgoing-link.ts'
import type { RheaSender } from './rhea-internals.ts'

type Parts = { sender: RheaSender; partition: Partition; from: number; tracksEnd: boolean; clock: Clock }

/** A client's receiver on a partition: a cursor that follows the log for as long as there is credit. */
export class EventConsumerLink {
  readonly #link: OutgoingLink
  readonly #partition: Partition
  readonly #tracksEnd: boolean
  readonly #clock: Clock
  readonly #stopWaking: () => void
  #next: number
  #closed = false

  constructor({ sender, partition, from, tracksEnd, clock }: Parts) {
    this.#partition = partition
    this.#tracksEnd = tracksEnd
    this.#clock = clock
    this.#next = from
    this.#link = new OutgoingLink(sender)
    this.#stopWaking = partition.onAppend(() => this.#pump())
    sender.on('sender_flow', () => {
      this.#pump()
      if (sender._draining) this.#link.drain()
    })
  }

  close(error: BrokerError): void {
    this.#link.close(error)
    this.detached()
  }

  detached(): void {
    this.#closed = true
    this.#stopWaking()
  }

  #pump(): void {
    while (!this.#closed && this.#link.capacity > 0) {
      const event = this.#partition.read(this.#next)
      if (event === undefined) return
      this.#next = event.sequenceNumber + 1
      const { last } = this.#partition.properties
      const metrics = this.#tracksEnd && last !== undefined ? [encodeRuntimeMetrics(last, this.#clock.now())] : []
      const payload = encodeEvent(event)
      this.#link.send(metrics.length === 0 ? payload : Buffer.concat([...metrics, payload]), undefined, true)
    }
  }
}
