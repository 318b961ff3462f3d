import { RuleSyntaxError } from './rule-errors.ts'
import type { Token } from './tokenize.ts'
import { tokenize } from './tokenize.ts'

/** Reserved in filters and actions alike: none of them can be a bare property name. */
const keywords = new Set([
  'AND',
  'OR',
  'NOT',
  'IS',
  'NULL',
  'IN',
  'LIKE',
  'ESCAPE',
  'EXISTS',
  'TRUE',
  'FALSE',
  'SET',
  'REMOVE',
])

const describe = (token: Token): string =>
  token.kind === 'end' ? 'the end of the expression' : JSON.stringify(token.text)

/** A cursor over an expression's tokens. Keywords are case-insensitive. */
export type TokenReader = {
  peek(): Token
  peekSecond(): Token
  next(): Token
  /** Consumes the next token when it is that symbol. */
  symbol(text: string): boolean
  keyword(word: string): boolean
  isKeyword(token: Token, word?: string): boolean
  expectSymbol(text: string): void
  expectKeyword(word: string): void
  /** Throws a RuleSyntaxError that points at the token, or at the next one. */
  fail(expected: string, token?: Token): never
  failAt(index: number, expected: string, found: string): never
}

export function readTokens(expression: string): TokenReader {
  const tokens = tokenize(expression)
  const end = tokens.at(-1) as Token
  let at = 0

  const reader: TokenReader = {
    peek: () => tokens[at] ?? end,
    peekSecond: () => tokens[at + 1] ?? end,
    next: () => tokens[at++] ?? end,
    symbol(text) {
      const token = reader.peek()
      if (token.kind !== 'symbol' || token.text !== text) return false
      at++
      return true
    },
    isKeyword(token, word) {
      if (token.kind !== 'name') return false
      const upper = token.text.toUpperCase()
      return word === undefined ? keywords.has(upper) : upper === word
    },
    keyword(word) {
      if (!reader.isKeyword(reader.peek(), word)) return false
      at++
      return true
    },
    expectSymbol(text) {
      if (!reader.symbol(text)) reader.fail(`"${text}"`)
    },
    expectKeyword(word) {
      if (!reader.keyword(word)) reader.fail(word)
    },
    fail(expected, token = reader.peek()) {
      throw new RuleSyntaxError(expression, token.index, expected, describe(token))
    },
    failAt(index, expected, found) {
      throw new RuleSyntaxError(expression, index, expected, found)
    },
  }
  return reader
}
