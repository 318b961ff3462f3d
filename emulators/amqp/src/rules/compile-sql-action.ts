import { compileExpression } from './compile-expression.ts'
import { createExpressionParser } from './parse-expression.ts'
import type { RuleMessage } from './rule-message.ts'
import { findUserProperty } from './rule-message.ts'
import type { PropertyNode, StatementNode } from './syntax-tree.ts'
import type { TokenReader } from './token-reader.ts'
import { readTokens } from './token-reader.ts'

type Apply = (message: RuleMessage) => void

/** The service's quota of expressions in one rule action. */
const maxStatements = 32

/**
 * Compiles a SQL action: `SET property = expression` and `REMOVE property`, separated by optional semicolons, applied in order
 * to the message in place. https://learn.microsoft.com/azure/service-bus-messaging/service-bus-messaging-sql-rule-action
 *
 * Throws RuleSyntaxError; the returned function throws RuleEvaluationError (the message may then be half changed).
 */
export function compileSqlAction(expression: string): (m: RuleMessage) => void {
  const reader = readTokens(expression)
  const steps = parseStatements(reader).map(compileStatement)
  return (message) => {
    for (const apply of steps) apply(message)
  }
}

function parseStatements(reader: TokenReader): StatementNode[] {
  const { parseExpression, parseProperty } = createExpressionParser(reader)
  const parseTarget = (): PropertyNode => {
    const at = reader.peek()
    const property = parseProperty()
    if (property.kind === 'system' && !property.system.property) reader.fail('a system property that can be set', at)
    return property
  }
  const statements: StatementNode[] = []
  do {
    const first = reader.peek()
    if (reader.keyword('SET')) {
      const property = parseTarget()
      reader.expectSymbol('=')
      statements.push({ kind: 'set', property, value: parseExpression() })
    } else if (reader.keyword('REMOVE')) {
      statements.push({ kind: 'remove', property: parseTarget() })
    } else {
      reader.fail(statements.length === 0 ? 'SET or REMOVE' : '";", SET, REMOVE or the end of the action')
    }
    if (statements.length > maxStatements) reader.fail(`at most ${maxStatements} statements`, first)
    reader.symbol(';')
  } while (reader.peek().kind !== 'end')
  return statements
}

function compileStatement(statement: StatementNode): Apply {
  const { property } = statement
  if (statement.kind === 'remove') return compileRemove(property)
  const evaluate = compileExpression(statement.value)
  if (property.kind === 'system') {
    const key = property.system.property as NonNullable<typeof property.system.property>
    return (message) => {
      const value = evaluate(message)
      if (value === undefined || value === null) delete message.properties[key]
      else message.properties[key] = asText(value)
    }
  }
  const { name } = property
  const lowered = name.toLowerCase()
  return (message) => {
    const properties = message.applicationProperties
    const key = findUserProperty(properties, name, lowered) ?? name
    const value = evaluate(message) ?? null
    // defineProperty, because assigning to a property called __proto__ would not create one.
    Object.defineProperty(properties, key, {
      value: convertLike(Object.hasOwn(properties, key) ? properties[key] : undefined, value),
      writable: true,
      enumerable: true,
      configurable: true,
    })
  }
}

function compileRemove(property: PropertyNode): Apply {
  if (property.kind === 'system') {
    const key = property.system.property as NonNullable<typeof property.system.property>
    return (message) => {
      delete message.properties[key]
    }
  }
  const { name } = property
  const lowered = name.toLowerCase()
  return ({ applicationProperties }) => {
    const key = findUserProperty(applicationProperties, name, lowered)
    if (key !== undefined) delete applicationProperties[key]
  }
}

const asText = (value: unknown): string => (value instanceof Date ? value.toISOString() : String(value))

/** SET keeps the type that the property had when the new value converts to it, and changes the type when it does not. */
function convertLike(existing: unknown, value: unknown): unknown {
  if (value === null || existing === undefined || existing === null || typeof existing === typeof value) return value
  if (typeof existing === 'string') return asText(value)
  const isNumeric = typeof existing === 'number' || typeof existing === 'bigint'
  if (isNumeric && typeof value === 'string' && value.trim() !== '') {
    const parsed = Number(value)
    return Number.isFinite(parsed) ? parsed : value
  }
  return value
}
