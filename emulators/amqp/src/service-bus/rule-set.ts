import { BrokerError, invalidArgument } from '../broker-error.ts'
import {
  compileCorrelationFilter,
  compileSqlAction,
  compileSqlFilter,
  type CorrelationFilter,
  type RuleMessage,
} from '../rules/index.ts'
import { applyView, copyView } from './rule-view.ts'
import type { MessageDraft } from './message-draft.ts'

export type RuleFilter = { sql: string } | { correlation: CorrelationFilter } | { always: boolean }

export type RuleDefinition = { name: string; filter: RuleFilter; action?: string | undefined }

type CompiledRule = {
  definition: RuleDefinition
  matches: (message: RuleMessage) => boolean
  act: ((message: RuleMessage) => void) | undefined
}

export const defaultRule: RuleDefinition = { name: '$Default', filter: { always: true } }

/** The rules of one subscription. */
export class RuleSet {
  readonly #rules = new Map<string, CompiledRule>()

  /** @throws BrokerError when a filter or action cannot be compiled; the message names the position */
  constructor(definitions: RuleDefinition[]) {
    for (const definition of definitions) this.#rules.set(definition.name.toLowerCase(), compile(definition))
  }

  get definitions(): RuleDefinition[] {
    return [...this.#rules.values()].map((rule) => rule.definition)
  }

  /** @throws BrokerError when the name is taken or the rule cannot be compiled */
  add(definition: RuleDefinition): void {
    const key = definition.name.toLowerCase()
    if (this.#rules.has(key))
      throw new BrokerError('com.microsoft:entity-already-exists', `Rule '${definition.name}' already exists.`)
    this.#rules.set(key, compile(definition))
  }

  /** @throws BrokerError when there is no such rule */
  remove(name: string): void {
    if (!this.#rules.delete(name.toLowerCase()))
      throw new BrokerError('amqp:not-found', `The messaging entity 'rule ${name}' could not be found.`)
  }

  /**
   * The copies that a published message becomes here: one for all matching rules without an action together, and one for
   * each matching rule with an action. `view` is decoded only when a rule looks at the message.
   * @throws RuleEvaluationError when a rule fails on this message
   */
  copies(draft: MessageDraft, view: () => RuleMessage): MessageDraft[] {
    const copies: MessageDraft[] = []
    let plain = false
    for (const { definition, matches, act } of this.#rules.values()) {
      const always = 'always' in definition.filter && act === undefined
      if (always ? !(definition.filter as { always: boolean }).always : !matches(view())) continue
      if (act === undefined) plain = true
      else {
        const changed = copyView(view())
        act(changed)
        copies.push(applyView(draft, view(), changed))
      }
    }
    if (plain) copies.unshift(draft)
    return copies
  }
}

const compile = (definition: RuleDefinition): CompiledRule => {
  try {
    const act =
      definition.action === undefined || definition.action === '' ? undefined : compileSqlAction(definition.action)
    return { definition, matches: compileFilter(definition.filter), act }
  } catch (error) {
    throw invalidArgument(`Rule '${definition.name}': ${error instanceof Error ? error.message : String(error)}`)
  }
}

const compileFilter = (filter: RuleFilter): ((message: RuleMessage) => boolean) => {
  if ('sql' in filter) return compileSqlFilter(filter.sql)
  if ('correlation' in filter) return compileCorrelationFilter(filter.correlation)
  return () => filter.always
}
