import { badRequest, type CosmosError } from '../cosmos-error.ts'

export interface Token {
  type: 'word' | 'number' | 'string' | 'parameter' | 'symbol' | 'end'
  /** Symbols and words as written; strings unescaped. */
  text: string
  start: number
  end: number
}

/** 400 with the service's SC1001 document; `start` and `end` are offsets into the query text. */
export const syntaxError = (message: string, start: number, end: number, code = 'SC1001'): CosmosError =>
  badRequest(message, {
    document: JSON.stringify({ errors: [{ severity: 'Error', location: { start, end }, code, message }] }),
  })

const word = /[\p{L}_$][\p{L}\p{N}_$]*/uy
const number = /0x[0-9a-f]+|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?/iy
const parameter = /@[\p{L}\p{N}_$]+/uy
const symbol = />>>|<<|>>|<=|>=|<>|!=|\?\?|\|\||[-=<>+*/%&|^~?:.,()[\]{}]/y
const blank = /(?:\s|--[^\n]*)+/y

const escapes: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

const matchAt = (pattern: RegExp, text: string, at: number): string | undefined => {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0]
}

const readString = (text: string, start: number): { value: string; end: number } => {
  const quote = text.charAt(start)
  let value = ''
  for (let i = start + 1; i < text.length; i += 1) {
    const char = text.charAt(i)
    if (char === quote) {
      // A doubled quote stands for itself, as in SQL; the documented form is a backslash.
      if (text.charAt(i + 1) !== quote) return { value, end: i + 1 }
      value += quote
      i += 1
    } else if (char === '\\') {
      const next = text.charAt(i + 1)
      const hex = next === 'u' ? matchAt(/[0-9a-f]{4}/iy, text, i + 2) : undefined
      value += hex === undefined ? (escapes[next] ?? next) : String.fromCharCode(Number.parseInt(hex, 16))
      i += hex === undefined ? 1 : 5
    } else value += char
  }
  throw syntaxError('Syntax error, unterminated string.', start, text.length, 'SC1012')
}

/** Splits a query into tokens, ending with one of type `end`. Throws 400. */
export const tokenize = (text: string): Token[] => {
  const tokens: Token[] = []
  for (let at = 0; at < text.length;) {
    const skipped = matchAt(blank, text, at)
    if (skipped !== undefined) {
      at += skipped.length
      continue
    }
    const start = at
    const add = (type: Token['type'], source: string): void => {
      at = start + source.length
      tokens.push({ type, text: source, start, end: at })
    }
    const char = text.charAt(at)
    if (char === '"' || char === "'") {
      const { value, end } = readString(text, at)
      tokens.push({ type: 'string', text: value, start, end })
      at = end
      continue
    }
    const digits = matchAt(number, text, at)
    if (digits !== undefined) {
      add('number', digits)
      continue
    }
    const letters = matchAt(word, text, at)
    if (letters !== undefined) {
      add('word', letters)
      continue
    }
    const name = matchAt(parameter, text, at)
    if (name !== undefined) {
      add('parameter', name)
      continue
    }
    const sign = matchAt(symbol, text, at)
    if (sign === undefined) throw syntaxError(`Syntax error, invalid token '${char}'.`, at, at + 1, 'SC1010')
    add('symbol', sign)
  }
  tokens.push({ type: 'end', text: 'end of query', start: text.length, end: text.length })
  return tokens
}
