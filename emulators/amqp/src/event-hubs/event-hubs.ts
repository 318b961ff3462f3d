import { encodeString, encodeSymbol } from '../amqp/encode.ts'
import type { ParsedMessage } from '../amqp/parse-message.ts'
import type { BrokerContext } from '../broker-context.ts'
import { BrokerError, entityNotFound } from '../broker-error.ts'
import type { EventHubsConfig } from '../config/event-hubs-config.ts'
import type { StoredEvent } from '../store/journal.ts'
import { ConsumerRegistry } from './consumer-registry.ts'
import { Partition } from './partition.ts'
import { partitionOfKey } from './partition-key-hash.ts'

export type EventHub = { name: string; createdAtMs: number; partitions: Partition[]; consumerGroups: Set<string> }

/** What an Event Hubs address names. */
export type EventHubPlace = { hub: EventHub; partition: Partition | undefined; consumerGroup: string | undefined }

const addressPattern = /^([^/]+)(?:\/ConsumerGroups\/([^/]+))?(?:\/Partitions\/([^/]+))?$/i
const partitionKeyAnnotation = encodeSymbol('x-opt-partition-key')

/** The event hubs of a namespace. */
export class EventHubs {
  readonly #hubs = new Map<string, EventHub>()
  readonly #byNumber = new Map<number, Partition>()
  readonly #registries = new Map<Partition, ConsumerRegistry>()
  #turn = 0

  constructor(context: BrokerContext, config: EventHubsConfig) {
    for (const { name, partitionCount, consumerGroups, retentionMs } of config.hubs) {
      const partitions = Array.from(
        { length: partitionCount },
        (_, index) => new Partition(context, name, String(index), retentionMs),
      )
      this.#hubs.set(name.toLowerCase(), {
        name,
        createdAtMs: context.clock.now(),
        partitions,
        consumerGroups: new Set(consumerGroups.map((group) => group.toLowerCase())),
      })
      for (const partition of partitions) {
        this.#byNumber.set(partition.entity, partition)
        this.#registries.set(partition, new ConsumerRegistry())
      }
    }
  }

  get hubs(): EventHub[] {
    return [...this.#hubs.values()]
  }

  has(address: string): boolean {
    return this.#hubs.has((addressPattern.exec(address)?.[1] ?? '').toLowerCase())
  }

  /** @throws BrokerError amqp:not-found */
  hub(name: string): EventHub {
    const hub = this.#hubs.get(name.toLowerCase())
    if (hub === undefined) throw entityNotFound(name)
    return hub
  }

  /** @throws BrokerError amqp:not-found when hub, consumer group or partition do not exist */
  resolve(address: string): EventHubPlace {
    const match = addressPattern.exec(address)
    if (match === null) throw entityNotFound(address)
    const hub = this.hub(match[1] ?? '')
    const consumerGroup = match[2]?.toLowerCase()
    if (consumerGroup !== undefined && !hub.consumerGroups.has(consumerGroup)) throw entityNotFound(address)
    return { hub, consumerGroup, partition: match[3] === undefined ? undefined : this.partition(hub, match[3]) }
  }

  /** @throws BrokerError argument-out-of-range when there is no such partition */
  partition(hub: EventHub, id: string): Partition {
    const partition = hub.partitions.find((candidate) => candidate.id === id)
    if (partition === undefined) {
      throw new BrokerError(
        'com.microsoft:argument-out-of-range',
        `The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 and ${hub.partitions.length - 1}.`,
      )
    }
    return partition
  }

  registry(partition: Partition): ConsumerRegistry {
    return this.#registries.get(partition) ?? new ConsumerRegistry()
  }

  /** Appends the events of one transfer to the named partition, else to that of their key, else to the next in turn. */
  publish({ hub, partition }: EventHubPlace, messages: ParsedMessage[], envelopeKey: string | undefined): void {
    const key = envelopeKey ?? messages[0]?.partitionKey
    const target =
      partition ??
      hub.partitions[
        key === undefined ? this.#turn++ % hub.partitions.length : partitionOfKey(key, hub.partitions.length)
      ]
    target?.append(
      key === undefined || partition !== undefined ? messages : messages.map((message) => withKey(message, key)),
    )
  }

  restoreEvent(partition: number, event: StoredEvent): void {
    this.#byNumber.get(partition)?.restore(event)
  }
}

// A batch may carry the key on its envelope alone; consumers find it on each event.
const withKey = (message: ParsedMessage, key: string): ParsedMessage =>
  message.partitionKey !== undefined
    ? message
    : {
        ...message,
        partitionKey: key,
        annotations: Buffer.concat([message.annotations, partitionKeyAnnotation, encodeString(key)]),
        annotationCount: message.annotationCount + 1,
      }
