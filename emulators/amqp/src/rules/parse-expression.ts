import { systemProperties, systemPropertyNames } from './rule-message.ts'
import type { Arithmetic, Comparison, Constant, ExpressionNode, PredicateNode, PropertyNode } from './syntax-tree.ts'
import type { TokenReader } from './token-reader.ts'

/** Values for the `@name` parameters of a filter, by name with or without the @. */
export type RuleParameters = Readonly<Record<string, unknown>>

/** Parentheses, NOT and signs nest at most this deep; the parser and what it produces recurse once a level. */
const maxDepth = 100

type Node = ExpressionNode | PredicateNode

const predicateKinds: ReadonlySet<Node['kind']> = new Set([
  'and',
  'or',
  'not',
  'comparison',
  'in',
  'like',
  'is-null',
  'exists',
])
const comparisons: Readonly<Record<string, Comparison>> = {
  '=': '=',
  '<>': '<>',
  '!=': '<>',
  '>': '>',
  '>=': '>=',
  '<': '<',
  '<=': '<=',
}

/**
 * Recursive descent over one grammar for predicates and expressions: after "(" nothing but the matching content tells the two
 * apart, so every production returns either kind and the operator that takes it checks which one it got.
 */
export function createExpressionParser(reader: TokenReader, parameters: RuleParameters = {}) {
  let depth = 0

  const nested = <T>(parse: () => T): T => {
    if (depth === maxDepth) reader.fail(`at most ${maxDepth} levels of nesting`)
    depth++
    const node = parse()
    depth--
    return node
  }

  const asPredicate = (node: Node): PredicateNode => {
    if (predicateKinds.has(node.kind)) return node as PredicateNode
    return reader.fail('a comparison operator, IS, IN or LIKE')
  }

  const asExpression = (node: Node): ExpressionNode => {
    if (!predicateKinds.has(node.kind)) return node as ExpressionNode
    return reader.failAt(node.index, 'a value', 'a condition')
  }

  const parseChain = (kind: 'and' | 'or', word: string, operand: () => Node): Node => {
    const first = operand()
    if (!reader.isKeyword(reader.peek(), word)) return first
    const operands = [asPredicate(first)]
    while (reader.keyword(word)) operands.push(asPredicate(operand()))
    return { kind, operands, index: first.index }
  }

  const parseOr = (): Node => parseChain('or', 'OR', parseAnd)
  const parseAnd = (): Node => parseChain('and', 'AND', parseNot)

  const parseNot = (): Node => {
    const { index } = reader.peek()
    if (!reader.keyword('NOT')) return parseCondition()
    return { kind: 'not', operand: asPredicate(nested(parseNot)), index }
  }

  const parseCondition = (): Node => {
    const left = parseSum()
    const token = reader.peek()
    const operator = token.kind === 'symbol' ? comparisons[token.text] : undefined
    if (operator) {
      reader.next()
      return { kind: 'comparison', operator, left: asExpression(left), right: parseExpression(), index: left.index }
    }
    if (reader.keyword('IS')) return parseIsNull(left)
    const negated = reader.keyword('NOT')
    if (reader.keyword('IN')) return parseIn(left, negated)
    if (reader.keyword('LIKE')) return parseLike(left, negated)
    if (negated) reader.fail('IN or LIKE')
    return left
  }

  const parseIsNull = (left: Node): Node => {
    const negated = reader.keyword('NOT')
    reader.expectKeyword('NULL')
    if (left.kind !== 'user' && left.kind !== 'system')
      return reader.failAt(left.index, 'a property before IS', 'a value')
    return { kind: 'is-null', negated, property: left, index: left.index }
  }

  const parseIn = (left: Node, negated: boolean): Node => {
    reader.expectSymbol('(')
    const list = [parseExpression()]
    while (reader.symbol(',')) list.push(parseExpression())
    if (!reader.symbol(')')) reader.fail('"," or ")"')
    return { kind: 'in', negated, left: asExpression(left), list, index: left.index }
  }

  const parseLike = (left: Node, negated: boolean): Node => {
    const pattern = parseExpression()
    const escape = reader.keyword('ESCAPE') ? parseExpression() : undefined
    return { kind: 'like', negated, left: asExpression(left), pattern, escape, index: left.index }
  }

  const parseArithmetic = (operators: string, operand: () => Node): Node => {
    let left = operand()
    for (;;) {
      const token = reader.peek()
      if (token.kind !== 'symbol' || !operators.includes(token.text)) return left
      reader.next()
      const right = asExpression(operand())
      left = {
        kind: 'arithmetic',
        operator: token.text as Arithmetic,
        left: asExpression(left),
        right,
        index: left.index,
      }
    }
  }

  const parseSum = (): Node => parseArithmetic('+-', parseProduct)
  const parseProduct = (): Node => parseArithmetic('*/%', parseSigned)

  const parseSigned = (): Node => {
    const { text, index } = reader.peek()
    const operator = reader.symbol('-') || reader.symbol('+') ? (text as '+' | '-') : undefined
    if (!operator) return parsePrimary()
    const { kind, text: digits } = reader.peek()
    // The smallest Int64 exists only with its sign: 9223372036854775808 by itself is out of range.
    if (operator === '-' && kind === 'integer') return integerConstant(`-${digits}`, reader.next().index)
    return { kind: 'sign', operator, operand: asExpression(nested(parseSigned)), index }
  }

  const integerConstant = (digits: string, index: number): ExpressionNode => {
    const exact = BigInt(digits)
    if (BigInt.asIntN(64, exact) !== exact) reader.failAt(index, 'an integer of 64 bits', digits)
    const value = Number.isSafeInteger(Number(digits)) ? Number(digits) : exact
    return { kind: 'constant', value, isDouble: false, index }
  }

  const constant = (value: Constant, index: number, isDouble = false): ExpressionNode => ({
    kind: 'constant',
    value,
    isDouble,
    index,
  })

  const parseParameter = (text: string, index: number): ExpressionNode => {
    const key = Object.hasOwn(parameters, text) ? text : text.slice(1)
    if (!Object.hasOwn(parameters, key)) reader.failAt(index, 'a parameter that the filter defines', text)
    const value = parameters[key]
    const isConstant =
      value === null || value instanceof Date || ['string', 'number', 'bigint', 'boolean'].includes(typeof value)
    if (!isConstant) reader.failAt(index, 'a parameter that is a string, number, boolean, date or null', text)
    return constant(value as Constant, index)
  }

  const parsePrimary = (): Node => {
    const token = reader.peek()
    switch (token.kind) {
      case 'string':
        return constant(reader.next().text, token.index)
      case 'integer':
        return integerConstant(reader.next().text, token.index)
      case 'double':
        return constant(Number(reader.next().text), token.index, true)
      case 'parameter':
        return parseParameter(reader.next().text, token.index)
      case 'delimited':
        return parseProperty()
      case 'name':
        return parseNamed()
      default:
        if (!reader.symbol('(')) return reader.fail('a property, a constant, a function or "("')
        return nested(() => {
          const inner = parseOr()
          reader.expectSymbol(')')
          return inner
        })
    }
  }

  const parseNamed = (): Node => {
    const token = reader.peek()
    const { index } = token
    if (reader.keyword('NULL')) return constant(null, index)
    if (reader.keyword('TRUE')) return constant(true, index)
    if (reader.keyword('FALSE')) return constant(false, index)
    if (reader.keyword('EXISTS')) {
      reader.expectSymbol('(')
      const property = parseProperty()
      reader.expectSymbol(')')
      return { kind: 'exists', property, index }
    }
    const following = reader.peekSecond()
    return following.kind === 'symbol' && following.text === '(' ? parseFunction() : parseProperty()
  }

  const parseFunction = (): ExpressionNode => {
    const token = reader.next()
    reader.expectSymbol('(')
    const name = token.text.toLowerCase()
    if (name !== 'newid' && name !== 'property' && name !== 'p') reader.fail('newid(), property() or p()', token)
    const argument = name === 'newid' ? undefined : nested(parseExpression)
    reader.expectSymbol(')')
    if (!argument) return { kind: 'newid', index: token.index }
    return { kind: 'property-function', name: argument, index: token.index }
  }

  const parseName = (): string => {
    const token = reader.peek()
    if (token.kind === 'delimited') return reader.next().text
    if (token.kind !== 'name' || reader.isKeyword(token)) return reader.fail('a property name')
    return reader.next().text
  }

  const parseProperty = (): PropertyNode => {
    const first = reader.peek()
    const name = parseName()
    if (!reader.symbol('.')) return { kind: 'user', name, index: first.index }
    const scope = first.kind === 'name' ? name.toLowerCase() : ''
    if (scope !== 'sys' && scope !== 'user') reader.fail('the scope sys or user', first)
    const at = reader.peek()
    const property = parseName()
    if (scope === 'user') return { kind: 'user', name: property, index: first.index }
    const system = systemProperties.get(property.toLowerCase())
    if (!system) return reader.fail(`one of the system properties ${systemPropertyNames}`, at)
    return { kind: 'system', name: property, system, index: first.index }
  }

  const parseExpression = (): ExpressionNode => asExpression(parseSum())
  const parsePredicate = (): PredicateNode => asPredicate(parseOr())
  return { parsePredicate, parseExpression, parseProperty }
}
