import { deserialize, serialize } from 'node:v8'
import type { BrokerContext } from '../broker-context.ts'
import { BrokerError, entityNotFound } from '../broker-error.ts'
import type { ServiceBusConfig } from '../config/service-bus-config.ts'
import type { BrokeredMessage } from './brokered-message.ts'
import { deadLetterProperties, type EntityProperties } from './entity-properties.ts'
import { MessageQueue } from './message-queue.ts'
import { RuleSet, type RuleDefinition } from './rule-set.ts'
import { Topic, type Subscription } from './topic.ts'

/** What an address names. `queue` takes part in everything but a topic's receiving and a subscription's sending. */
export type Entity =
  | { kind: 'queue' | 'dead-letter'; queue: MessageQueue }
  | { kind: 'topic'; queue: MessageQueue; topic: Topic }
  | { kind: 'subscription'; queue: MessageQueue; subscription: Subscription }

const deadLetterSuffix = '/$deadletterqueue'
const transferSuffix = '/$transfer/$deadletterqueue'

/** The queues, topics and subscriptions of a Service Bus namespace, by case-insensitive address. */
export class Namespace {
  readonly queues: MessageQueue[] = []
  readonly topics: Topic[] = []
  readonly #context: BrokerContext
  readonly #entities = new Map<string, Entity>()
  readonly #byNumber = new Map<number, MessageQueue>()
  readonly #subscriptionsByNumber = new Map<number, Subscription>()

  constructor(context: BrokerContext, config: ServiceBusConfig) {
    this.#context = context
    for (const { name, properties } of config.queues) this.#addQueue(name, properties)
    for (const { name, properties, subscriptions } of config.topics) {
      const topic = new Topic(context, name, properties)
      this.topics.push(topic)
      this.#add({ kind: 'topic', queue: topic.entry, topic })
      for (const subscription of subscriptions)
        this.#addSubscription(topic, subscription.name, subscription.properties, subscription.rules)
    }
    for (const entity of this.#entities.values()) this.#forward(entity.queue)
  }

  /** @throws BrokerError amqp:not-found */
  resolve(address: string): Entity {
    const key = address.toLowerCase()
    const known = this.#entities.get(key)
    if (known !== undefined) return known
    const suffix = [transferSuffix, deadLetterSuffix].find((candidate) => key.endsWith(candidate))
    const owner = suffix === undefined ? undefined : this.#entities.get(key.slice(0, -suffix.length))
    if (owner === undefined || owner.kind === 'topic') throw entityNotFound(address)
    if (suffix === deadLetterSuffix && owner.queue.deadLetters !== undefined)
      return { kind: 'dead-letter', queue: owner.queue.deadLetters }
    return this.#transferQueue(key, owner.queue)
  }

  has(address: string): boolean {
    return this.#entities.has(address.toLowerCase())
  }

  /** Every queue and subscription with its dead-letter queue. */
  *all(): Generator<MessageQueue> {
    for (const queue of this.#byNumber.values()) yield queue
  }

  addRule(subscription: Subscription, definition: RuleDefinition): void {
    subscription.rules.add(definition)
    this.#saveRules(subscription)
  }

  removeRule(subscription: Subscription, name: string): void {
    subscription.rules.remove(name)
    this.#saveRules(subscription)
  }

  restoreMessage(entity: number, message: BrokeredMessage): void {
    this.#byNumber.get(entity)?.restore(message)
  }

  restoreSequence(entity: number, lastSequenceNumber: number): void {
    this.#byNumber.get(entity)?.contents.restoreSequence(lastSequenceNumber)
  }

  restoreSessionLock(entity: number, sessionId: string, lockedUntilMs: number): void {
    this.#byNumber.get(entity)?.sessions?.restoreLock(sessionId, lockedUntilMs)
  }

  restoreSessionState(entity: number, sessionId: string, state: Buffer): void {
    this.#byNumber.get(entity)?.sessions?.setState(sessionId, state)
  }

  restoreDuplicate(entity: number, messageId: string, untilMs: number): void {
    this.#byNumber.get(entity)?.restoreDuplicate(messageId, untilMs)
  }

  /** Rules that clients changed win over those of the configuration. */
  restoreRules(entity: number, encoded: string[]): void {
    const subscription = this.#subscriptionsByNumber.get(entity)
    if (subscription !== undefined) subscription.rules = new RuleSet(encoded.map(decodeRule))
  }

  #addQueue(name: string, properties: EntityProperties): void {
    const queue = new MessageQueue(this.#context, name, properties)
    this.queues.push(queue)
    this.#add({ kind: 'queue', queue })
  }

  #addSubscription(
    topic: Topic,
    name: string,
    properties: EntityProperties,
    rules: RuleDefinition[] | undefined,
  ): void {
    const subscription = topic.subscribe(name, properties, rules)
    this.#subscriptionsByNumber.set(subscription.queue.contents.entity, subscription)
    this.#add({ kind: 'subscription', queue: subscription.queue, subscription })
  }

  #add(entity: Entity): void {
    this.#entities.set(entity.queue.path.toLowerCase(), entity)
    this.#byNumber.set(entity.queue.contents.entity, entity.queue)
    if (entity.queue.deadLetters !== undefined)
      this.#byNumber.set(entity.queue.deadLetters.contents.entity, entity.queue.deadLetters)
  }

  // Messages that could not be forwarded would go there. Here a forward is refused only by its target's own limits, and
  // then the message is dead-lettered where it was, so the transfer queue exists and stays empty.
  #transferQueue(key: string, owner: MessageQueue): Entity {
    const queue = new MessageQueue(
      this.#context,
      `${owner.path}/$Transfer/$DeadLetterQueue`,
      deadLetterProperties(owner.properties),
      true,
    )
    const entity: Entity = { kind: 'dead-letter', queue }
    this.#entities.set(key, entity)
    return entity
  }

  #forward(queue: MessageQueue): void {
    const { forwardTo, forwardDeadLetteredTo } = queue.properties
    if (forwardTo !== undefined) {
      const target = this.resolve(forwardTo).queue
      queue.route = (draft, sequenceNumber) => {
        try {
          target.publish([{ ...draft, enqueuedSequenceNumber: draft.enqueuedSequenceNumber || sequenceNumber }])
        } catch (error) {
          if (!(error instanceof BrokerError)) throw error
          queue.refuse(draft, { reason: error.condition, description: error.message })
        }
      }
    }
    if (forwardDeadLetteredTo !== undefined && queue.deadLetters !== undefined) {
      const target = this.resolve(forwardDeadLetteredTo).queue
      queue.deadLetters.route = (draft) => target.publish([{ ...draft, deadLetterSource: queue.path }])
    }
  }

  #saveRules({ queue, rules }: Subscription): void {
    this.#context.journal.saveRules(
      queue.contents.entity,
      rules.definitions.map((definition) => ({ name: definition.name, definition: encodeRule(definition) })),
    )
  }
}

// Not JSON: correlation filters compare with dates and 64-bit integers too.
const encodeRule = (definition: RuleDefinition): string => serialize(definition).toString('base64')

const decodeRule = (encoded: string): RuleDefinition => deserialize(Buffer.from(encoded, 'base64')) as RuleDefinition
