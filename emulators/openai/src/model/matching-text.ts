import type { Draws } from './seeded-draw.ts'

const maxText = 2_000
// What the walker cannot follow; refused before the pattern is run on a text that does not match it.
const unsupported = /\(\?(?!:|<[A-Za-z_])|\\[1-9k]/

const printable = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i))
const digit = '0123456789'.split('')
const word = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_'.split('')
const without = (set: readonly string[]): string[] => printable.filter((char) => !set.includes(char))
const escapes: Record<string, readonly string[]> = {
  d: digit,
  D: without(digit),
  w: word,
  W: without(word),
  s: [' '],
  S: without([' ']),
  n: ['\n'],
  t: ['\t'],
}

/** Walks a regular expression's source and writes a text that matches it, choosing branches by the draws. */
class PatternWalker {
  readonly #source: string
  readonly #draws: Draws
  #at = 0

  constructor(source: string, draws: Draws) {
    this.#source = source
    this.#draws = draws
  }

  write(): string {
    const branches: string[] = []
    let current = ''
    while (this.#at < this.#source.length && this.#peek() !== ')') {
      if (this.#peek() === '|') {
        this.#at++
        branches.push(current)
        current = ''
        continue
      }
      current += this.#repeated()
    }
    branches.push(current)
    return branches[this.#draws.between(0, branches.length - 1)] ?? ''
  }

  #peek(): string {
    return this.#source[this.#at] ?? ''
  }

  #repeated(): string {
    const start = this.#at
    let text = this.#atom()
    const end = this.#at
    const [least, most] = this.#quantifier()
    const times = this.#draws.between(least, most)
    if (times === 0) return ''
    const after = this.#at
    for (let i = 1; i < times && text.length < maxText; i++) {
      this.#at = start
      text += this.#atom()
    }
    this.#at = Math.max(after, end)
    return text
  }

  #atom(): string {
    const char = this.#source[this.#at++] ?? ''
    if (char === '^' || char === '$') return ''
    if (char === '.') return this.#draw(word)
    if (char === '[') return this.#draw(this.#characterClass())
    if (char === '\\') return this.#draw(this.#escaped())
    if (char !== '(') return char
    if (this.#source.startsWith('?:', this.#at)) this.#at += 2
    else if (this.#source.startsWith('?<', this.#at)) this.#at = this.#source.indexOf('>', this.#at) + 1
    const text = this.write()
    this.#at++
    return text
  }

  #escaped(): readonly string[] {
    const char = this.#source[this.#at++] ?? ''
    return char === 'b' || char === 'B' ? [''] : (escapes[char] ?? [char])
  }

  #characterClass(): readonly string[] {
    const negated = this.#peek() === '^'
    if (negated) this.#at++
    const set: string[] = []
    while (this.#at < this.#source.length && this.#peek() !== ']') {
      const char = this.#source[this.#at++] ?? ''
      if (char === '\\') set.push(...this.#escaped())
      else if (this.#peek() === '-' && this.#source[this.#at + 1] !== ']') {
        this.#at++
        const last = this.#source[this.#at++] ?? char
        for (let code = char.charCodeAt(0); code <= last.charCodeAt(0); code++) set.push(String.fromCharCode(code))
      } else set.push(char)
    }
    this.#at++
    return negated ? without(set) : set
  }

  #quantifier(): [least: number, most: number] {
    const char = this.#peek()
    if (char === '*' || char === '+' || char === '?') {
      this.#at++
      this.#lazy()
      return char === '?' ? [0, 1] : [char === '*' ? 0 : 1, 4]
    }
    const counted = /^\{(\d+)(,?)(\d*)\}/.exec(this.#source.slice(this.#at, this.#at + 16))
    if (!counted) return [1, 1]
    this.#at += counted[0].length
    this.#lazy()
    const least = Math.min(Number(counted[1]), 256)
    if (counted[2] === '') return [least, least]
    return [least, counted[3] === '' ? least + 3 : Math.min(Number(counted[3]), 256)]
  }

  #lazy(): void {
    if (this.#peek() === '?') this.#at++
  }

  #draw(set: readonly string[]): string {
    return set[this.#draws.between(0, set.length - 1)] ?? ''
  }
}

/** A text that matches the pattern, or undefined when it uses what the walker cannot follow (lookaround, back references). */
export function matchingText(pattern: string, draws: Draws): string | undefined {
  if (pattern.length > 1_000 || unsupported.test(pattern)) return undefined
  try {
    const expression = new RegExp(pattern, 'u')
    for (let tries = 0; tries < 5; tries++) {
      const text = new PatternWalker(pattern, draws).write()
      if (text.length < maxText && expression.test(text)) return text
    }
  } catch {
    return undefined
  }
  return undefined
}
