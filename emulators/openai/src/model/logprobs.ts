import type { Choice } from './generation.ts'
import type { Json } from '../json-fields.ts'

const alternatives = [
  ' the',
  ' a',
  ' is',
  ' not',
  ' of',
  ' and',
  ' to',
  '.',
  ',',
  ' in',
  ' it',
  ' for',
  ' no',
  ' yes',
  ' that',
  ' one',
  ' two',
  ' or',
  ' if',
  ' so',
]

const bytesOf = (token: string): number[] => [...Buffer.from(token)]

/**
 * The logprobs of a choice's tokens in chat's shape. Alternatives share what probability the chosen token left over,
 * each half of the one before, so that they never sum to more than 1.
 */
export function tokenLogprobs(choice: Choice, top: number): Json[] {
  return choice.pieces.map((token, at) => {
    const logprob = choice.logprobs[at] ?? 0
    const entry = { token, logprob, bytes: bytesOf(token) }
    if (top === 0) return { ...entry, top_logprobs: [] }
    let left = Math.max(1e-9, 1 - Math.exp(logprob))
    const others = alternatives
      .filter((other) => other !== token)
      .slice(0, top - 1)
      .map((other) => {
        left /= 2
        return { token: other, logprob: Math.log(left), bytes: bytesOf(other) }
      })
    return { ...entry, top_logprobs: [entry, ...others].sort((a, b) => b.logprob - a.logprob) }
  })
}
