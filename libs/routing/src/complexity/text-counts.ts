import { wordGroups } from './lexicon.ts'

const zeros = {
  chars: 0,
  digits: 0,
  operators: 0,
  brackets: 0,
  quotes: 0,
  commas: 0,
  questions: 0,
  beyondAscii: 0,
  /** TeX commands and delimiters, mathematical signs. */
  mathsMarks: 0,
  /** Braces, backticks, arrows, semicolons at a line's end. */
  codeMarks: 0,
  /** Underscores: gaps to fill. */
  blanks: 0,
  words: 0,
  wordLetters: 0,
  /** Words of nine letters or more. */
  longWords: 0,
  /** Words with a capital that do not open a sentence. */
  capitalisedWords: 0,
  distinctWords: 0,
  numbers: 0,
  /** Figures of the number that has most of them. */
  longestNumber: 0,
  decimals: 0,
  /** Money and percentages. */
  amounts: 0,
  sentences: 0,
  /** Words and numbers of the longest sentence. */
  longestSentence: 0,
  /** Words and numbers of the last sentence that ends in a question mark. */
  questionLength: 0,
  lines: 0,
  listLines: 0,
  /** Answers to choose from, one a line; words and numbers in them, in the longest, and how many have a number. */
  options: 0,
  optionWords: 0,
  longestOption: 0,
  optionsWithNumbers: 0,
}

/** What one pass over a text counts. */
export type TextCounts = typeof zeros & {
  /** Words per group of the lexicon, in its order. */
  groups: Int32Array
  /** Distinct buckets of unigrams and bigrams of words; numbers count as words of their length. */
  ngrams: number[]
}

export const nothingCounted = (): TextCounts => ({ ...zeros, groups: new Int32Array(wordGroups.length), ngrams: [] })
