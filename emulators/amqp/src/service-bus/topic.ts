import type { BrokerContext } from '../broker-context.ts'
import { BrokerError } from '../broker-error.ts'
import { RuleEvaluationError, type RuleMessage } from '../rules/index.ts'
import type { EntityProperties } from './entity-properties.ts'
import type { MessageDraft } from './message-draft.ts'
import { MessageQueue } from './message-queue.ts'
import { defaultRule, RuleSet, type RuleDefinition } from './rule-set.ts'
import { ruleView } from './rule-view.ts'

export type Subscription = { name: string; queue: MessageQueue; rules: RuleSet }

/** Takes messages in like a queue, but keeps only scheduled ones; the others are copied to the subscriptions whose rules match. */
export class Topic {
  readonly path: string
  readonly entry: MessageQueue
  readonly subscriptions = new Map<string, Subscription>()
  readonly #context: BrokerContext

  constructor(context: BrokerContext, path: string, properties: EntityProperties) {
    this.#context = context
    this.path = path
    this.entry = new MessageQueue(context, path, properties)
    this.entry.route = (draft, sequenceNumber) => this.#fanOut(draft, sequenceNumber)
  }

  /** @throws BrokerError when a rule cannot be compiled */
  subscribe(name: string, properties: EntityProperties, rules: RuleDefinition[] | undefined): Subscription {
    const queue = new MessageQueue(this.#context, `${this.path}/Subscriptions/${name}`, properties)
    const subscription = { name, queue, rules: new RuleSet(rules ?? [defaultRule]) }
    this.subscriptions.set(name.toLowerCase(), subscription)
    return subscription
  }

  #fanOut(published: MessageDraft, sequenceNumber: number): void {
    const draft = { ...published, enqueuedSequenceNumber: published.enqueuedSequenceNumber || sequenceNumber }
    let decoded: RuleMessage | undefined
    const view = (): RuleMessage => (decoded ??= ruleView(draft, sequenceNumber, this.#context.clock.now()))
    for (const { queue, rules } of this.subscriptions.values()) {
      try {
        for (const copy of rules.copies(draft, view)) queue.publish([copy])
      } catch (error) {
        queue.refuse(draft, refusal(error))
      }
    }
  }
}

// A message that its publisher was told is accepted cannot be refused any more, so what a subscription cannot take is
// dead-lettered there.
const refusal = (error: unknown): { reason: string; description: string } => {
  if (error instanceof RuleEvaluationError) return { reason: 'FilterEvaluationException', description: error.message }
  if (error instanceof BrokerError && error.condition === 'amqp:not-allowed') {
    return {
      reason: 'Session id is null.',
      description: "Session enabled entity doesn't allow a message whose session identifier is null.",
    }
  }
  if (error instanceof BrokerError) return { reason: error.condition, description: error.message }
  throw error
}
