import type { CosmosError } from '../cosmos-error.ts'
import { syntaxError, tokenize, type Token } from './tokens.ts'

const reserved = new Set(
  'AND AS ASC BETWEEN BY CASE DESC DISTINCT ESCAPE EXISTS FALSE FROM GROUP HAVING IN JOIN LIKE LIMIT NOT NULL OFFSET OR ORDER SELECT TOP TRUE UDF UNDEFINED VALUE WHERE'.split(
    ' ',
  ),
)

// A hostile query of thousands of parentheses must be a 400, not a stack overflow.
const maxDepth = 200

/** A cursor over a query's tokens. Keywords match in any case. */
export class TokenReader {
  readonly #tokens: Token[]
  #at = 0
  #depth = 0

  constructor(text: string) {
    this.#tokens = tokenize(text)
  }

  peek(ahead = 0): Token {
    return this.#tokens[Math.min(this.#at + ahead, this.#tokens.length - 1)] as Token
  }

  next(): Token {
    const token = this.peek()
    this.#at += 1
    return token
  }

  isKeyword(keyword: string, ahead = 0): boolean {
    const token = this.peek(ahead)
    return token.type === 'word' && token.text.toUpperCase() === keyword
  }

  isSymbol(text: string, ahead = 0): boolean {
    const token = this.peek(ahead)
    return token.type === 'symbol' && token.text === text
  }

  takeKeyword(keyword: string): boolean {
    if (!this.isKeyword(keyword)) return false
    this.#at += 1
    return true
  }

  takeSymbol(text: string): boolean {
    if (!this.isSymbol(text)) return false
    this.#at += 1
    return true
  }

  expectKeyword(keyword: string): void {
    if (!this.takeKeyword(keyword)) throw this.unexpected()
  }

  expectSymbol(text: string): void {
    if (!this.takeSymbol(text)) throw this.unexpected()
  }

  isIdentifier(ahead = 0): boolean {
    const token = this.peek(ahead)
    return token.type === 'word' && !reserved.has(token.text.toUpperCase())
  }

  identifier(): string {
    if (!this.isIdentifier()) throw this.unexpected()
    return this.next().text
  }

  unexpected(token = this.peek()): CosmosError {
    return syntaxError(`Syntax error, incorrect syntax near '${token.text}'.`, token.start, token.end)
  }

  nested<T>(parse: () => T): T {
    this.#depth += 1
    if (this.#depth > maxDepth)
      throw syntaxError('The query is nested too deeply.', this.peek().start, this.peek().end, 'SC3000')
    const result = parse()
    this.#depth -= 1
    return result
  }
}
