import { RuleSyntaxError } from './rule-errors.ts'

export type Token =
  | { kind: 'name'; text: string; index: number }
  | { kind: 'delimited'; text: string; index: number }
  | { kind: 'string'; text: string; index: number }
  | { kind: 'parameter'; text: string; index: number }
  | { kind: 'integer' | 'double'; text: string; index: number }
  | { kind: 'symbol'; text: string; index: number }
  | { kind: 'end'; text: ''; index: number }

/** The service's quota for a SQL filter's and for an action's text; it also bounds everything that recurses over the text. */
const maxExpressionLength = 1024

const space = /\s+/y
const name = /\p{L}[_\p{L}\p{Nd}]*/uy
const parameter = /@[_\p{L}][_\p{L}\p{Nd}]*/uy
const double = /(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+/y
const integer = /\d+/y
const symbol = /<>|!=|>=|<=|[=<>+\-*/%(),.;]/y

const quotes: Readonly<Record<string, { close: string; kind: 'string' | 'delimited'; what: string }>> = {
  "'": { close: "'", kind: 'string', what: "a closing ' of the string" },
  '"': { close: '"', kind: 'delimited', what: 'a closing " of the identifier' },
  '[': { close: ']', kind: 'delimited', what: 'a closing ] of the identifier' },
}

/** The tokens of an expression, ending in an `end` token. Throws RuleSyntaxError. */
export function tokenize(expression: string): Token[] {
  if (expression.length > maxExpressionLength) {
    throw new RuleSyntaxError(
      expression.slice(0, maxExpressionLength),
      maxExpressionLength,
      `at most ${maxExpressionLength} characters`,
      `an expression of ${expression.length} characters`,
    )
  }
  const tokens: Token[] = []
  let index = 0

  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = index
    return pattern.exec(expression)?.[0]
  }

  const readQuoted = (close: string, what: string): { text: string; end: number } => {
    let text = ''
    let from = index + 1
    for (;;) {
      const at = expression.indexOf(close, from)
      if (at === -1) throw new RuleSyntaxError(expression, expression.length, what, 'the end of the expression')
      text += expression.slice(from, at)
      if (expression[at + 1] !== close) return { text, end: at + 1 }
      text += close
      from = at + 2
    }
  }

  const readToken = (): { token: Token; end: number } => {
    const quote = quotes[expression.charAt(index)]
    if (quote) {
      const { text, end } = readQuoted(quote.close, quote.what)
      if (quote.kind === 'delimited' && text === '') {
        throw new RuleSyntaxError(expression, index, 'a property name', 'an empty delimited identifier')
      }
      return { token: { kind: quote.kind, text, index }, end }
    }
    for (const [kind, pattern] of [
      ['name', name],
      ['parameter', parameter],
      ['double', double],
      ['integer', integer],
      ['symbol', symbol],
    ] as const) {
      const text = match(pattern)
      if (text !== undefined) return { token: { kind, text, index }, end: index + text.length }
    }
    const found = String.fromCodePoint(expression.codePointAt(index) ?? 0)
    throw new RuleSyntaxError(expression, index, 'a property, a constant or an operator', JSON.stringify(found))
  }

  for (;;) {
    index += match(space)?.length ?? 0
    if (index === expression.length) break
    const { token, end } = readToken()
    tokens.push(token)
    index = end
  }
  tokens.push({ kind: 'end', text: '', index })
  return tokens
}
