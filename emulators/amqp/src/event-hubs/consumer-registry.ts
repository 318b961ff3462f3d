import { BrokerError, quotaExceeded } from '../broker-error.ts'

/** A consumer of one partition in one consumer group. */
export type RegisteredConsumer = {
  /** The owner level; undefined for consumers that share. */
  epoch: number | undefined
  /** Another consumer has taken the partition over. */
  stolen(error: BrokerError): void
}

const mostSharing = 5

const stolen = (epoch: number): BrokerError =>
  new BrokerError(
    'amqp:link:stolen',
    `New receiver with higher epoch of '${epoch}' is created, hence this receiver is getting disconnected.`,
  )

/**
 * Who reads a partition. A consumer with an owner level displaces every consumer with a lower or equal level and all
 * that have none; a lower one is refused.
 */
export class ConsumerRegistry {
  readonly #consumers = new Map<string, Set<RegisteredConsumer>>()

  /** @throws BrokerError amqp:link:stolen, or quota exceeded for a sixth sharing consumer */
  add(group: string, consumer: RegisteredConsumer): void {
    const present = this.#consumers.get(group) ?? new Set()
    this.#consumers.set(group, present)
    const highest = Math.max(...[...present].map(({ epoch }) => epoch ?? -Infinity))
    if (highest > (consumer.epoch ?? -Infinity)) {
      throw new BrokerError(
        'amqp:link:stolen',
        `Receiver cannot be created because a receiver with epoch '${highest}' exists.`,
      )
    }
    if (consumer.epoch === undefined && present.size >= mostSharing)
      throw quotaExceeded(`${group}: ${mostSharing} receivers without epoch`)
    if (consumer.epoch !== undefined) {
      for (const other of present) {
        present.delete(other)
        other.stolen(stolen(consumer.epoch))
      }
    }
    present.add(consumer)
  }

  remove(group: string, consumer: RegisteredConsumer): void {
    this.#consumers.get(group)?.delete(consumer)
  }
}
