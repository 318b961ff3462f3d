import { toNumber } from './final-answer.ts'

/** A step such as `3 * (4 + 1) = 15` in a text. */
export interface Equation {
  result: number
  /** The left side comes to the result, up to rounding. */
  right: boolean
}

const longestSide = 80

/** The arithmetic steps that a text spells out, in order; what is not plain arithmetic is passed over. */
export function equationsIn(text: string): readonly Equation[] {
  const plain = text
    .replaceAll(/[\\$]/g, '')
    // A calculator's annotation, `6 * 5 = <<6*5=30>>30`, repeats the step.
    .replaceAll('<<', ' ')
    .replaceAll('>>', ' ; ')
    .replaceAll('×', '*')
    .replaceAll(/(\d) ?x ?(?=[\d(.])/g, '$1*')
  const found: Equation[] = []
  // By its equals signs: one pattern for a whole equation would try every beginning of a long sum.
  for (let at = plain.indexOf('='); at >= 0; at = plain.indexOf('=', at + 1)) {
    const left = /[\d.,()+\-*/ %]*$/.exec(plain.slice(Math.max(0, at - longestSide), at))?.[0] ?? ''
    const right = /^ *(-?[\d,]*\.?\d+)(?! *[\d.,+*/(-])/.exec(plain.slice(at + 1, at + 1 + longestSide))?.[1]
    if (right === undefined || !/\d[^\d.,]*[+\-*/]/.test(left)) continue
    const value = evaluate(left)
    const result = toNumber(right)
    if (!Number.isFinite(value) || !Number.isFinite(result)) continue
    found.push({ result, right: Math.abs(value - result) <= Math.max(0.011, Math.abs(result) * 0.006) })
  }
  return found
}

/** Evaluates + - * / and parentheses; NaN for anything else. */
function evaluate(text: string): number {
  const tokens = text.match(/\d[\d,]*(?:\.\d+)?|\.\d+|[-+*/()]/g) ?? []
  let at = 0
  const primary = (): number => {
    const token = tokens[at++]
    if (token === '-') return -primary()
    if (token === '(') {
      const value = sum()
      return tokens[at++] === ')' ? value : Number.NaN
    }
    return token === undefined || /^[+*/)]$/.test(token) ? Number.NaN : toNumber(token)
  }
  const product = (): number => {
    let value = primary()
    while (tokens[at] === '*' || tokens[at] === '/')
      value = tokens[at++] === '*' ? value * primary() : value / primary()
    return value
  }
  const sum = (): number => {
    let value = product()
    while (tokens[at] === '+' || tokens[at] === '-')
      value = tokens[at++] === '+' ? value + product() : value - product()
    return value
  }
  const value = sum()
  return at === tokens.length ? value : Number.NaN
}
