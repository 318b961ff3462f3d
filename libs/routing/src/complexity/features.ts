import { type WordGroup, wordGroups } from './lexicon.ts'
import type { TextCounts } from './text-counts.ts'

interface Feature {
  name: string
  /** What a score is explained with when this feature raised it. */
  phrase: string
  measure: (counts: TextCounts) => number
}

const log = (amount: number): number => Math.log2(1 + amount)
const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole)
const group = (name: WordGroup): ((counts: TextCounts) => number) => {
  const at = wordGroups.indexOf(name)
  return ({ groups }) => groups[at] ?? 0
}
const feature = (name: string, phrase: string, measure: Feature['measure']): Feature => ({ name, phrase, measure })
const groupCount = (name: WordGroup, phrase: string): Feature => {
  const count = group(name)
  return feature(`${name} words`, phrase, (c) => log(count(c)))
}
const groupShare = (name: WordGroup, phrase: string): Feature => {
  const count = group(name)
  return feature(`${name} share`, phrase, (c) => share(count(c), c.words))
}

/** The dense features, in the order in which the trained trees number them. */
export const features: readonly Feature[] = [
  feature('characters', 'long prompt', (c) => log(c.chars)),
  feature('words', 'long prompt', (c) => log(c.words)),
  feature('word length', 'technical words', (c) => share(c.wordLetters, c.words)),
  feature('long words', 'technical words', (c) => share(c.longWords, c.words)),
  feature('distinct words', 'little repetition', (c) => share(c.distinctWords, c.words)),
  feature('capitalised words', 'names', (c) => share(c.capitalisedWords, c.words)),
  feature('numbers', 'many numbers', (c) => log(c.numbers)),
  feature('digits', 'many numbers', (c) => share(c.digits, c.chars)),
  feature('longest number', 'large numbers', (c) => c.longestNumber),
  feature('decimals', 'decimals', (c) => log(c.decimals)),
  feature('amounts', 'amounts', (c) => log(c.amounts)),
  feature('operators', 'formulas', (c) => log(c.operators)),
  feature('maths marks', 'formulas', (c) => log(c.mathsMarks)),
  feature('brackets', 'formulas', (c) => log(c.brackets)),
  feature('code marks', 'code', (c) => log(c.codeMarks)),
  feature('quotes', 'quotations', (c) => log(c.quotes)),
  feature('commas', 'nested sentences', (c) => share(c.commas, c.words)),
  feature('questions', 'several questions', (c) => log(c.questions)),
  feature('blanks', 'gaps to fill', (c) => log(c.blanks)),
  feature('beyond ASCII', 'other scripts', (c) => share(c.beyondAscii, c.chars)),
  feature('sentences', 'many sentences', (c) => log(c.sentences)),
  feature('longest sentence', 'long sentences', (c) => log(c.longestSentence)),
  feature('question length', 'a long question', (c) => log(c.questionLength)),
  feature('lines', 'many lines', (c) => log(c.lines)),
  feature('list lines', 'a list of tasks', (c) => log(c.listLines)),
  feature('options', 'answers to choose from', (c) => c.options),
  feature('option length', 'long answers to choose from', (c) => log(share(c.optionWords, c.options))),
  feature('option spread', 'uneven answers', (c) => log(share(c.longestOption * c.options, c.optionWords))),
  feature('numeric options', 'numbers to choose from', (c) => share(c.optionsWithNumbers, c.options)),
  groupCount('reasoning', 'reasoning'),
  groupCount('maths', 'maths'),
  groupCount('code', 'code'),
  groupCount('steps', 'several steps'),
  groupCount('constraints', 'constraints'),
  groupShare('negation', 'negations'),
  groupShare('comparison', 'comparisons'),
  groupCount('quantities', 'quantities'),
  groupShare('conditions', 'conditions'),
  groupShare('people', 'a story'),
  groupShare('function', 'plain words'),
  groupShare('why', 'asks why'),
]

export function denseFeatures(counts: TextCounts): Float64Array {
  const values = new Float64Array(features.length)
  for (let at = 0; at < values.length; at++) values[at] = features[at]?.measure(counts) ?? 0
  return values
}
