import { equationsIn } from './equations.ts'
import { finalAnswer, toNumber } from './final-answer.ts'
import { hedgesIn } from './hedging.ts'

/** What tells a wrong solution of a word problem from a right one; the order is that of the trained weights. */
export const numericFeatures = [
  'no result that is marked as one',
  'decimals at the end',
  'words after the result',
  'steps that do not add up',
  'share of the prompt’s numbers that are used',
  'hedging',
  'lines',
  'comparisons in the prompt',
  'numbers as words in the prompt',
  'complexity of the prompt',
] as const

const numberPattern = /\d[\d,]*(?:\.\d+)?/g
const wordValues = new Map<string, number>([
  ...['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve'].map(
    (word, at): [string, number] => [word, at + 1],
  ),
  ...Object.entries({ half: 0.5, twice: 2, double: 2, triple: 3, third: 3, quarter: 4, dozen: 12, fifteen: 15 }),
  ...Object.entries({ twenty: 20, thirty: 30, hundred: 100, couple: 2 }),
])
const comparison = /\b(?:more|less|fewer|times|twice|half|as many|older|younger|remaining|left|rest)\b/gi

/** Whether a prompt asks for a number that has to be worked out. */
export function asksForNumber(prompt: string): boolean {
  const given = (prompt.match(numberPattern)?.length ?? 0) + wordsOfNumbers(prompt).length
  return (
    given >= 2 &&
    /\b(?:how (?:many|much|old|long|far|tall|fast)|what (?:is|was|will|percent\w*|number)|calculate)\b/i.test(prompt)
  )
}

/** @param score complexity of the prompt, 0 to 1 */
export function readNumericFeatures(prompt: string, answer: string, score: number): Float64Array {
  const final = finalAnswer(answer)
  const given = (prompt.match(numberPattern) ?? []).map(toNumber)
  const said = new Set((answer.match(numberPattern) ?? []).map(toNumber))
  return Float64Array.of(
    Number(!final.marked),
    Number(final.decimals),
    Number(final.trailing),
    Math.min(3, equationsIn(answer).filter(({ right }) => !right).length),
    given.length === 0 ? 1 : given.filter((number) => said.has(number)).length / given.length,
    Math.min(2, hedgesIn(answer)),
    Math.min(20, answer.split('\n').filter((line) => line.trim() !== '').length),
    Math.min(5, prompt.match(comparison)?.length ?? 0),
    Math.min(4, wordsOfNumbers(prompt).length),
    Math.log(Math.max(1e-4, score) / Math.max(1e-4, 1 - score)),
  )
}

const wordsOfNumbers = (text: string): readonly number[] =>
  (text.toLowerCase().match(/[a-z]+/g) ?? []).flatMap((word) => wordValues.get(word) ?? [])
