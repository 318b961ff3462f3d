import { compilePredicate } from './compile-predicate.ts'
import { compileLikePattern } from './like-pattern.ts'
import { createExpressionParser } from './parse-expression.ts'
import type { RuleParameters } from './parse-expression.ts'
import type { RuleMessage } from './rule-message.ts'
import type { PredicateNode } from './syntax-tree.ts'
import type { TokenReader } from './token-reader.ts'
import { readTokens } from './token-reader.ts'

/**
 * Compiles a SQL filter: the documented subset of SQL-92 with three-valued logic, `@name` parameters included.
 * https://learn.microsoft.com/azure/service-bus-messaging/service-bus-messaging-sql-filter
 *
 * Throws RuleSyntaxError for anything outside the subset. The returned predicate is true only for what is known to match; it
 * throws RuleEvaluationError where the service raises a FilterException (dead-letter or drop, as the subscription says).
 */
export function compileSqlFilter(expression: string, parameters: RuleParameters = {}): (m: RuleMessage) => boolean {
  const reader = readTokens(expression)
  const predicate = createExpressionParser(reader, parameters).parsePredicate()
  if (reader.peek().kind !== 'end') reader.fail('AND, OR or the end of the expression')
  refuseHopelessLikes(predicate, reader)
  const test = compilePredicate(predicate)
  return (message) => test(message) === true
}

/** A constant pattern that can never be evaluated is refused with its position instead of failing for every message. */
function refuseHopelessLikes(node: PredicateNode, reader: TokenReader): void {
  if (node.kind === 'and' || node.kind === 'or') {
    for (const operand of node.operands) refuseHopelessLikes(operand, reader)
  } else if (node.kind === 'not') {
    refuseHopelessLikes(node.operand, reader)
  } else if (node.kind === 'like') {
    const { pattern, escape } = node
    if (escape?.kind !== 'constant') return
    if (typeof escape.value !== 'string' || escape.value.length !== 1) {
      reader.failAt(escape.index, 'a string of one character after ESCAPE', String(escape.value))
    }
    if (pattern.kind !== 'constant' || typeof pattern.value !== 'string') return
    if (!compileLikePattern(pattern.value, escape.value)) {
      reader.failAt(pattern.index, 'a character after the escape character', 'the end of the pattern')
    }
  }
}
