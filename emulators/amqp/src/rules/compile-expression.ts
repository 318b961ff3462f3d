import { randomUUID } from 'node:crypto'

import { arithmetic, negate } from './operators.ts'
import { RuleEvaluationError } from './rule-errors.ts'
import type { RuleMessage } from './rule-message.ts'
import { findUserProperty, systemProperties } from './rule-message.ts'
import type { ExpressionNode } from './syntax-tree.ts'

/** Reads a value off a message; undefined is unknown. */
export type Evaluate = (message: RuleMessage) => unknown

const scopePrefix = /^\s*(sys|user)\s*\./i

export function compileExpression(node: ExpressionNode): Evaluate {
  switch (node.kind) {
    case 'constant': {
      const { value } = node
      return () => value
    }
    case 'user':
      return compileUserProperty(node.name)
    case 'system':
      return node.system.read
    case 'newid':
      return () => randomUUID()
    case 'property-function':
      return compilePropertyFunction(node.name)
    case 'sign': {
      const operand = compileExpression(node.operand)
      if (node.operator === '-') return (message) => negate(operand(message))
      return (message) => arithmetic('+', 0, operand(message), false)
    }
    default: {
      const left = compileExpression(node.left)
      const right = compileExpression(node.right)
      const { operator } = node
      const isDouble = yieldsDouble(node)
      return (message) => arithmetic(operator, left(message), right(message), isDouble)
    }
  }
}

function yieldsDouble(node: ExpressionNode): boolean {
  switch (node.kind) {
    case 'constant':
      return node.isDouble
    case 'sign':
      return yieldsDouble(node.operand)
    case 'arithmetic':
      return yieldsDouble(node.left) || yieldsDouble(node.right)
    default:
      return false
  }
}

function compileUserProperty(name: string): Evaluate {
  const lowered = name.toLowerCase()
  return ({ applicationProperties }) => {
    const key = findUserProperty(applicationProperties, name, lowered)
    return key === undefined ? undefined : applicationProperties[key]
  }
}

/** `property('x')` and `property('sys.Label')`; a computed name is resolved for each message. */
function compilePropertyFunction(name: ExpressionNode): Evaluate {
  const evaluateName = compileExpression(name)
  return (message) => {
    const text = evaluateName(message)
    if (text === undefined || text === null) return undefined
    if (typeof text !== 'string') throw new RuleEvaluationError('the name given to property() is not a string')
    const scope = scopePrefix.exec(text)
    const bare = scope ? text.slice(scope[0].length).trim() : text
    if (scope?.[1]?.toLowerCase() !== 'sys') {
      const key = findUserProperty(message.applicationProperties, bare, bare.toLowerCase())
      return key === undefined ? undefined : message.applicationProperties[key]
    }
    const system = systemProperties.get(bare.toLowerCase())
    if (!system) throw new RuleEvaluationError(`there is no system property ${bare}`)
    return system.read(message)
  }
}
