import { describe, expect, it } from 'vitest'
import { denseFeatures, features } from './features.ts'
import { type WordGroup, wordGroups } from './lexicon.ts'
import { ngramBuckets } from './ngram-set.ts'
import { scanText } from './scan-text.ts'

const groupOf = (text: string, name: WordGroup) => scanText(text).groups[wordGroups.indexOf(name)]

describe('scanText', () => {
  it('counts words, sentences, numbers and amounts', () => {
    expect(scanText('Ann paid $3.50 for 1,204 apples. Why?')).toMatchObject({
      words: 5,
      numbers: 2,
      decimals: 1,
      amounts: 1,
      longestNumber: 4,
      sentences: 2,
      longestSentence: 6,
      questions: 1,
      questionLength: 1,
      capitalisedWords: 0,
    })
  })

  it('counts answers to choose from', () => {
    expect(scanText('Which?\nA. red\nB) dark green\n(C) 7 blues\nAnswer:')).toMatchObject({
      lines: 5,
      options: 3,
      longestOption: 3,
      optionsWithNumbers: 1,
    })
  })

  it.each([
    ['a list', '1. one\n2) two\n- three\n* four', { listLines: 4 }],
    ['code', 'const f = () => {\n  g();\n}', { codeMarks: 4 }],
    ['TeX', '$x$ and \\frac{1}{2}', { mathsMarks: 3 }],
    ['signs', 'a ≤ b ± c', { mathsMarks: 2, beyondAscii: 2 }],
    ['gaps', 'The ____ is', { blanks: 4 }],
    ['ideographs as words', '日本語', { words: 3 }],
    ['an apostrophe inside a word', "don't can’t", { words: 2 }],
  ])('recognises %s', (_name, text, counts) => {
    expect(scanText(text)).toMatchObject(counts)
  })

  it('finds words of the lexicon in any case', () => {
    expect(groupOf('PROVE it, Prove, prove.', 'reasoning')).toBe(3)
    expect(groupOf("It isn't", 'negation')).toBe(1)
  })

  it('names each bucket once, and starts anew with each text', () => {
    const { ngrams } = scanText('to be or not to be or not to be')
    expect(new Set(ngrams).size).toBe(ngrams.length)
    expect(Math.max(...ngrams)).toBeLessThan(ngramBuckets)
    expect(scanText('to be or not to be or not to be').ngrams).toEqual(ngrams)
  })

  it('counts the thousandth text as it counts the first', () => {
    const first = scanText('to be or not to be')
    for (let text = 0; text < 1_000; text++) expect(scanText('to be or not to be')).toEqual(first)
  })

  it('gives every feature a finite value, even without text', () => {
    for (const text of ['', ' ', '😀', '?', 'A. ', '9'.repeat(400)]) {
      const values = denseFeatures(scanText(text))
      expect(values).toHaveLength(features.length)
      expect(values.every(Number.isFinite)).toBe(true)
    }
  })
})
