import type { Draws } from './seeded-draw.ts'

// Answers are prose about the prompt's own words, so that they read like answers, depend on the prompt, and embed near
// it. A right answer is longer and formatted, a wrong one short and plain: what confidence judges look at.
const openings = [
  'Here is a concise answer about',
  'The key point about',
  'To start with, consider',
  'In practice, what matters most about',
  'A careful look shows what is essential in',
  'Let us work through',
] as const
const bodies = [
  'First, {s} depends on how the parts fit together, and each step should be checked on its own.',
  'The usual approach to {s} is to measure first and to change one thing at a time.',
  'This follows because {s} has a clear structure that can be broken into smaller pieces.',
  'It helps to compare {s} with a simpler case whose result is already known.',
  'Note that {s} also has limits, which should be stated before relying on it.',
  'When {s} grows, the cost grows with it, so plan for the larger case early.',
  'Most mistakes with {s} come from skipping the boundary conditions.',
  'A second check on {s} gives the same result, which supports the conclusion.',
] as const
const points = [
  'State the goal of {s} in one sentence.',
  'Write down what is known about {s}.',
  'Check {s} against an independent source.',
  'Keep {s} as small as possible.',
  'Record the result for {s}.',
] as const
const guesses = [
  'It is probably something about {s}.',
  'Not sure, but I think {s} is what matters here.',
  'Maybe {s} works the other way around.',
  '{s} might be it.',
] as const

const stopWords = new Set(
  'about after also and answer are because been but can could does from give have here how into just like make more most much must name only other please question should some tell than that the their them then there these they this those very want was well were what when where which while will with would write your'.split(
    ' ',
  ),
)

/** Up to six content words of a text, in order of appearance; bracketed markers are not part of the question. */
export function salientWords(text: string): string[] {
  const words = new Set<string>()
  for (const [word] of text
    .slice(0, 4_000)
    .replaceAll(/\[[^\]]*\]/g, ' ')
    .matchAll(/\p{L}{4,24}/gu)) {
    const lower = word.toLowerCase()
    if (!stopWords.has(lower)) words.add(lower)
    if (words.size === 6) break
  }
  return [...words]
}

const fill = (template: string, subject: string): string => template.replace('{s}', subject)

/** A text that differs from the right answer but could pass for one: a near number, another letter, another word. */
export function wrongAnswer(right: string, draws: Draws): string {
  if (/^-?\d+(\.\d+)?$/.test(right)) {
    const value = Number(right)
    const step = Math.max(1, Math.round(Math.abs(value) * 0.1))
    return String(value + (draws.next() < 0.5 ? -1 : 1) * step * draws.between(1, 3))
  }
  if (/^[A-E]$/.test(right)) {
    const others = ['A', 'B', 'C', 'D', 'E'].filter((letter) => letter !== right && (letter !== 'E' || right === 'E'))
    return others[draws.between(0, others.length - 1)] ?? 'A'
  }
  if (/^(yes|no)$/i.test(right)) return /^yes$/i.test(right) ? 'no' : 'yes'
  if (/^(true|false)$/i.test(right)) return /^true$/i.test(right) ? 'false' : 'true'
  return `not ${right}`
}

const refusals = ["I'm sorry, but I can't assist with that request.", "I'm sorry, I cannot help with that."] as const

export const refusalText = (draws: Draws): string => draws.pick(refusals)

export interface TextRequest {
  right: boolean
  /** The content words to write about. */
  subjects: readonly string[]
  /** The right answer, when the prompt states it. */
  answer?: string | undefined
}

/** Free text for a prompt; the same draws give the same text. */
export function writeAnswer({ right, subjects, answer }: TextRequest, draws: Draws): string {
  const subject = (): string => subjects[draws.between(0, Math.max(0, subjects.length - 1))] ?? 'the question'
  if (!right) {
    const guess = fill(draws.pick(guesses), subject())
    return answer === undefined ? guess : `${guess} ${wrongAnswer(answer, draws)}`
  }
  const paragraph = [`${draws.pick(openings)} ${subject()}.`]
  for (let left = draws.between(1, 3); left > 0; left--) paragraph.push(fill(draws.pick(bodies), subject()))
  const bullets = Array.from({ length: draws.between(0, 3) }, () => `- ${fill(draws.pick(points), subject())}`)
  const parts = [paragraph.join(' ')]
  if (bullets.length > 0) parts.push(bullets.join('\n'))
  if (answer !== undefined) parts.push(`The answer is **${answer}**.`)
  return parts.join('\n\n')
}
