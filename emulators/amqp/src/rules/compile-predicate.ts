import { compileExpression } from './compile-expression.ts'
import type { Evaluate } from './compile-expression.ts'
import { compileLikePattern } from './like-pattern.ts'
import { comparisonOf, isEqual } from './operators.ts'
import type { Truth } from './operators.ts'
import { RuleEvaluationError } from './rule-errors.ts'
import type { RuleMessage } from './rule-message.ts'
import { findUserProperty } from './rule-message.ts'
import type { Comparison, ExpressionNode, PredicateNode, PropertyNode } from './syntax-tree.ts'

type Test = (message: RuleMessage) => Truth

const invert = (truth: Truth): Truth => (truth === undefined ? undefined : !truth)

/** Compiles a condition to closures; nothing is parsed or looked up by operator while messages flow. */
export function compilePredicate(node: PredicateNode): Test {
  switch (node.kind) {
    case 'and':
      return compileChain(node.operands, false)
    case 'or':
      return compileChain(node.operands, true)
    case 'not': {
      const operand = compilePredicate(node.operand)
      return (message) => invert(operand(message))
    }
    case 'comparison':
      return compileComparison(node.operator, compileExpression(node.left), node.right)
    case 'in':
      return compileIn(compileExpression(node.left), node.list.map(compileExpression), node.negated)
    case 'like':
      return compileLike(node)
    case 'is-null': {
      const read = compileExpression(node.property)
      const { negated } = node
      return (message) => ((read(message) ?? null) === null) !== negated
    }
    default:
      return compileExists(node.property)
  }
}

/**
 * AND ends at the first false, OR at the first true (`decisive`); short of that one unknown operand makes the chain unknown.
 * https://learn.microsoft.com/azure/service-bus-messaging/service-bus-messaging-sql-filter, "Property evaluation semantics"
 */
function compileChain(operands: PredicateNode[], decisive: boolean): Test {
  const tests = operands.map(compilePredicate)
  return (message) => {
    let outcome: Truth = !decisive
    for (const test of tests) {
      const truth = test(message)
      if (truth === decisive) return decisive
      if (truth === undefined) outcome = undefined
    }
    return outcome
  }
}

function compileComparison(operator: Comparison, left: Evaluate, rightNode: ExpressionNode): Test {
  if (operator === '=' && rightNode.kind === 'constant' && typeof rightNode.value === 'string') {
    const expected = rightNode.value
    return (message) => {
      const value = left(message)
      return typeof value === 'string' ? value === expected : undefined
    }
  }
  const right = compileExpression(rightNode)
  const compare = comparisonOf(operator)
  return (message) => compare(left(message), right(message))
}

function compileIn(left: Evaluate, list: Evaluate[], negated: boolean): Test {
  return (message) => {
    const value = left(message)
    if (value === undefined || value === null) return undefined
    let found: Truth = false
    for (const item of list) {
      const candidate = item(message)
      if (isEqual(value, candidate) === true) return !negated
      if (candidate === undefined || candidate === null) found = undefined
    }
    return negated ? invert(found) : found
  }
}

type LikeNode = PredicateNode & { kind: 'like' }

function compileLike(node: LikeNode): Test {
  const left = compileExpression(node.left)
  const pattern = compileExpression(node.pattern)
  const escape = node.escape && compileExpression(node.escape)
  const { negated } = node
  let compiledFor: readonly [pattern: string, escape: string | undefined] | undefined
  let matches: (text: string) => boolean

  return (message) => {
    const text = left(message)
    const wanted = pattern(message)
    const escapeCharacter = escape?.(message)
    if (typeof text !== 'string' || typeof wanted !== 'string') return undefined
    if (escape && (escapeCharacter === undefined || escapeCharacter === null)) return undefined
    if (compiledFor?.[0] !== wanted || compiledFor[1] !== escapeCharacter) {
      matches = likeMatcher(wanted, escapeCharacter)
      compiledFor = [wanted, escapeCharacter as string | undefined]
    }
    return matches(text) !== negated
  }
}

function likeMatcher(pattern: string, escape: unknown): (text: string) => boolean {
  if (escape !== undefined && (typeof escape !== 'string' || escape.length !== 1)) {
    throw new RuleEvaluationError('the ESCAPE of a LIKE is not a string of one character')
  }
  const matches = compileLikePattern(pattern, escape)
  if (!matches) throw new RuleEvaluationError('the pattern of a LIKE ends in its escape character')
  return matches
}

/** A user property exists even when its value is null; a system property exists once it has a value. */
function compileExists(property: PropertyNode): Test {
  if (property.kind === 'system') return (message) => (property.system.read(message) ?? null) !== null
  const { name } = property
  const lowered = name.toLowerCase()
  return (message) => findUserProperty(message.applicationProperties, name, lowered) !== undefined
}
