import type { BinaryOperator, Expression, Query } from './syntax.ts'
import type { TokenReader } from './token-reader.ts'

/** Parses what stands inside parentheses as a query; given by parse-query to keep the two modules acyclic. */
export type ParseQuery = (reader: TokenReader) => Query

// Loosest first. Comparison, IN, BETWEEN and LIKE sit between NOT and `||`.
const looseLevels: BinaryOperator[][] = [['??'], ['OR'], ['AND']]
const tightLevels: BinaryOperator[][] = [['||'], ['|'], ['^'], ['&'], ['<<', '>>', '>>>'], ['+', '-'], ['*', '/', '%']]
const comparisons: BinaryOperator[] = ['=', '!=', '<=', '>=', '<', '>']

export class ExpressionParser {
  readonly #reader: TokenReader
  readonly #parseQuery: ParseQuery

  constructor(reader: TokenReader, parseQuery: ParseQuery) {
    this.#reader = reader
    this.#parseQuery = parseQuery
  }

  parse(): Expression {
    return this.#reader.nested(() => {
      const test = this.#loose(0)
      if (!this.#reader.takeSymbol('?')) return test
      const consequent = this.parse()
      this.#reader.expectSymbol(':')
      return { type: 'conditional', test, consequent, alternate: this.parse() }
    })
  }

  #operatorIn(operators: readonly BinaryOperator[]): BinaryOperator | undefined {
    return operators.find((operator) =>
      /^[A-Z]/.test(operator) ? this.#reader.takeKeyword(operator) : this.#reader.takeSymbol(operator),
    )
  }

  #chain(operators: readonly BinaryOperator[], operand: () => Expression): Expression {
    let left = operand()
    for (let operator = this.#operatorIn(operators); operator !== undefined; operator = this.#operatorIn(operators))
      left = { type: 'binary', operator, left, right: operand() }
    return left
  }

  #loose(level: number): Expression {
    const operators = looseLevels[level]
    return operators === undefined ? this.#not() : this.#chain(operators, () => this.#loose(level + 1))
  }

  #not(): Expression {
    if (!this.#reader.takeKeyword('NOT')) return this.#comparison()
    return this.#reader.nested(() => ({ type: 'unary', operator: 'NOT', operand: this.#not() }))
  }

  #comparison(): Expression {
    let left = this.#tight(0)
    for (;;) {
      const operator = this.#operatorIn(comparisons) ?? (this.#reader.takeSymbol('<>') ? '!=' : undefined)
      if (operator !== undefined) {
        left = { type: 'binary', operator, left, right: this.#tight(0) }
        continue
      }
      const negated =
        this.#reader.isKeyword('NOT') && ['IN', 'BETWEEN', 'LIKE'].some((word) => this.#reader.isKeyword(word, 1))
      if (negated) this.#reader.next()
      const membership = this.#membership(left)
      if (membership === undefined) return left
      left = negated ? { type: 'unary', operator: 'NOT', operand: membership } : membership
    }
  }

  #membership(value: Expression): Expression | undefined {
    const reader = this.#reader
    if (reader.takeKeyword('IN')) {
      reader.expectSymbol('(')
      return { type: 'in', value, list: this.list(')') }
    }
    if (reader.takeKeyword('BETWEEN')) {
      const low = this.#tight(0)
      reader.expectKeyword('AND')
      return { type: 'between', value, low, high: this.#tight(0) }
    }
    if (reader.takeKeyword('LIKE')) {
      const pattern = this.#tight(0)
      return { type: 'like', value, pattern, escape: reader.takeKeyword('ESCAPE') ? this.#tight(0) : undefined }
    }
    return undefined
  }

  #tight(level: number): Expression {
    const operators = tightLevels[level]
    return operators === undefined ? this.#unary() : this.#chain(operators, () => this.#tight(level + 1))
  }

  #unary(): Expression {
    for (const operator of ['-', '+', '~'] as const)
      if (this.#reader.takeSymbol(operator))
        return this.#reader.nested(() => ({ type: 'unary', operator, operand: this.#unary() }))
    return this.#postfix()
  }

  #postfix(): Expression {
    const reader = this.#reader
    let object = this.#primary()
    for (;;) {
      if (reader.takeSymbol('.')) {
        // After a dot even a reserved word is a property name.
        const token = reader.next()
        if (token.type !== 'word') throw reader.unexpected(token)
        object = { type: 'member', object, property: { type: 'literal', value: token.text } }
      } else if (reader.takeSymbol('[')) {
        object = { type: 'member', object, property: this.parse() }
        reader.expectSymbol(']')
      } else return object
    }
  }

  #primary(): Expression {
    const reader = this.#reader
    if (reader.takeSymbol('(')) return this.#parenthesised()
    if (reader.takeSymbol('[')) return { type: 'array', elements: this.list(']') }
    if (reader.takeSymbol('{')) return this.#object()
    const token = reader.peek()
    if (token.type === 'string' || token.type === 'number') {
      reader.next()
      return { type: 'literal', value: token.type === 'string' ? token.text : Number(token.text) }
    }
    if (token.type === 'parameter') {
      reader.next()
      return { type: 'parameter', name: token.text }
    }
    if (reader.takeKeyword('TRUE')) return { type: 'literal', value: true }
    if (reader.takeKeyword('FALSE')) return { type: 'literal', value: false }
    if (reader.takeKeyword('NULL')) return { type: 'literal', value: null }
    if (reader.takeKeyword('UNDEFINED')) return { type: 'literal', value: undefined }
    return this.#named()
  }

  #parenthesised(): Expression {
    if (this.#reader.isKeyword('SELECT')) return { type: 'scalar-subquery', query: this.#subquery() }
    const inner = this.parse()
    this.#reader.expectSymbol(')')
    return inner
  }

  #subquery(): Query {
    const query = this.#reader.nested(() => this.#parseQuery(this.#reader))
    this.#reader.expectSymbol(')')
    return query
  }

  #named(): Expression {
    const reader = this.#reader
    if (
      (reader.isKeyword('EXISTS') || reader.isKeyword('ARRAY')) &&
      reader.isSymbol('(', 1) &&
      reader.isKeyword('SELECT', 2)
    ) {
      const type = reader.next().text.toUpperCase() === 'EXISTS' ? 'exists' : 'array-subquery'
      reader.next()
      return { type, query: this.#subquery() }
    }
    // LEFT, RIGHT and the like are not reserved here, so any word followed by a parenthesis is a call.
    const token = reader.peek()
    if (token.type === 'word' && reader.isSymbol('(', 1)) {
      reader.next()
      reader.next()
      return { type: 'call', name: token.text.toUpperCase(), arguments: this.list(')'), at: token.start }
    }
    return { type: 'identifier', name: reader.identifier(), at: token.start }
  }

  #object(): Expression {
    const reader = this.#reader
    const properties: { key: string; value: Expression }[] = []
    while (!reader.takeSymbol('}')) {
      if (properties.length > 0) reader.expectSymbol(',')
      const token = reader.next()
      if (token.type !== 'string' && token.type !== 'word') throw reader.unexpected(token)
      reader.expectSymbol(':')
      properties.push({ key: token.text, value: this.parse() })
    }
    return { type: 'object', properties }
  }

  /** Comma-separated expressions up to and including `close`. */
  list(close: string): Expression[] {
    const elements: Expression[] = []
    while (!this.#reader.takeSymbol(close)) {
      if (elements.length > 0) this.#reader.expectSymbol(',')
      elements.push(this.parse())
    }
    return elements
  }
}
