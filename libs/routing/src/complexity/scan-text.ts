import { groupsOfWord, hashStart, hashStep, wordGroups } from './lexicon.ts'

/** Buckets of the hashed n-grams, a power of two. */
export const ngramBuckets = 1 << 14

/** What one pass over a text counts. */
export interface TextCounts {
  chars: number
  letters: number
  capitals: number
  digits: number
  spaces: number
  operators: number
  brackets: number
  quotes: number
  commas: number
  questions: number
  beyondAscii: number
  mathsMarks: number
  codeMarks: number
  blanks: number
  words: number
  wordLetters: number
  longWords: number
  longestWord: number
  capitalisedWords: number
  distinctWords: number
  repeatedWords: number
  numbers: number
  longestNumber: number
  decimals: number
  amounts: number
  sentences: number
  longestSentence: number
  /** Words of the last sentence that ends in a question mark. */
  questionWords: number
  lines: number
  listLines: number
  options: number
  optionWords: number
  longestOption: number
  optionNumbers: number
  /** Words per group of the lexicon, in its order. */
  groups: Int32Array
  /** Distinct buckets of word unigrams and bigrams. */
  ngrams: Int32Array
}

// Kinds of ASCII characters.
const other = 0
const letter = 1
const digit = 2
const space = 3
const operator = 4
const bracket = 5
const quote = 6
const kinds = new Uint8Array(128)
for (let code = 0; code < 128; code++) {
  const char = String.fromCharCode(code)
  kinds[code] = /[a-z]/i.test(char)
    ? letter
    : /\d/.test(char)
      ? digit
      : /\s/.test(char)
        ? space
        : '+*/=^<>%|~'.includes(char)
          ? operator
          : '()[]{}'.includes(char)
            ? bracket
            : '"\'`'.includes(char)
              ? quote
              : other
}

// One marker per bucket says in which scan it was last seen, so that no scan has to clear them.
const seenNgram = new Int32Array(ngramBuckets)
const seenWord = new Int32Array(ngramBuckets)
let generation = 0

const mix = (a: number, b: number): number => {
  let hash = Math.imul(a ^ (b >>> 15) ^ (b << 7), 0x2c1b3c6d) ^ b
  hash = Math.imul(hash ^ (hash >>> 15), 0x297a2d39)
  return hash ^ (hash >>> 15)
}
const numberHash = [0, 1, 2, 3].map((length) => mix(hashStart, 1_000_003 * (length + 1)))

/** Counts what the features need, in one pass; takes time linear in the text, whatever it holds. */
export function scanText(text: string): TextCounts {
  if (++generation === 0x7fffffff) {
    seenNgram.fill(0)
    seenWord.fill(0)
    generation = 1
  }
  const end = text.length
  const ngrams: number[] = []
  const c: TextCounts = {
    ...{ chars: end, letters: 0, capitals: 0, digits: 0, spaces: 0, operators: 0, brackets: 0, quotes: 0, commas: 0 },
    ...{ questions: 0, beyondAscii: 0, mathsMarks: 0, codeMarks: 0, blanks: 0, words: 0, wordLetters: 0, longWords: 0 },
    ...{ longestWord: 0, capitalisedWords: 0, distinctWords: 0, repeatedWords: 0, numbers: 0, longestNumber: 0 },
    ...{ decimals: 0, amounts: 0, sentences: 0, longestSentence: 0, questionWords: 0, lines: 0, listLines: 0 },
    ...{ options: 0, optionWords: 0, longestOption: 0, optionNumbers: 0 },
    groups: new Int32Array(wordGroups.length),
    ngrams: new Int32Array(0),
  }
  let hash = hashStart
  let length = 0
  let capital = false
  let figures = 0
  let previous = 0
  let sentenceWords = 0
  let lineWords = 0
  let lineNumbers = 0
  let lineStart = true
  let inOption = false

  const addNgram = (value: number): void => {
    const bucket = (value >>> 0) & (ngramBuckets - 1)
    if (seenNgram[bucket] === generation) return
    seenNgram[bucket] = generation
    ngrams.push(bucket)
  }
  const addToken = (token: number): void => {
    addNgram(mix(token, 0x51ed))
    addNgram(mix(token, previous))
    previous = token
    sentenceWords++
    lineWords++
  }
  const endWord = (): void => {
    c.words++
    c.wordLetters += length
    if (length >= 9) c.longWords++
    if (length > c.longestWord) c.longestWord = length
    if (capital) {
      c.capitals++
      if (sentenceWords > 0) c.capitalisedWords++
    }
    const place = mix(hash, 7) & (ngramBuckets - 1)
    if (seenWord[place] === generation) c.repeatedWords++
    else {
      seenWord[place] = generation
      c.distinctWords++
    }
    const bits = groupsOfWord.get(hash) ?? 0
    for (let group = 0, rest = bits; rest !== 0; group++, rest >>>= 1) {
      if ((rest & 1) === 1) c.groups[group] = (c.groups[group] ?? 0) + 1
    }
    addToken(hash)
    hash = hashStart
    length = 0
    capital = false
  }
  const endNumber = (): void => {
    c.numbers++
    lineNumbers++
    if (figures > c.longestNumber) c.longestNumber = figures
    addToken(numberHash[Math.min(3, figures)] ?? 0)
    figures = 0
  }
  const endSentence = (): void => {
    if (sentenceWords === 0) return
    c.sentences++
    if (sentenceWords > c.longestSentence) c.longestSentence = sentenceWords
    sentenceWords = 0
  }
  const endLine = (): void => {
    c.lines++
    if (inOption) {
      c.options++
      c.optionWords += lineWords
      if (lineWords > c.longestOption) c.longestOption = lineWords
      if (lineNumbers > 0) c.optionNumbers++
    }
    endSentence()
    lineStart = true
    inOption = false
    lineWords = 0
    lineNumbers = 0
  }

  for (let at = 0; at < end; at++) {
    const code = text.charCodeAt(at)
    const kind = code < 128 ? kinds[code] : isLetter(code) ? letter : other
    if (kind === letter) {
      if (figures > 0) endNumber()
      if (lineStart) {
        lineStart = false
        inOption = startsOption(text, at)
      }
      if (length === 0) capital = code >= 65 && code <= 90
      c.letters++
      length++
      hash = hashStep(hash, code >= 65 && code <= 90 ? code | 32 : code)
      // Ideographs and syllables stand for words of their own: there are no spaces between them.
      if (code >= 0x3040) {
        c.beyondAscii++
        endWord()
      } else if (code > 127) c.beyondAscii++
      continue
    }
    if (kind === digit) {
      if (length > 0) endWord()
      if (lineStart) {
        lineStart = false
        if (startsListItem(text, at)) c.listLines++
      }
      c.digits++
      figures++
      continue
    }
    if (length > 0) {
      if (code === 39 || code === 0x2019) continue
      endWord()
    }
    if (figures > 0) {
      if ((code === 46 || code === 44) && isDigit(text.charCodeAt(at + 1))) {
        if (code === 46) c.decimals++
        continue
      }
      endNumber()
    }
    if (kind === space) {
      c.spaces++
      if (code === 10) endLine()
      continue
    }
    if (lineStart) {
      lineStart = false
      if (code === 40) inOption = startsOption(text, at + 1)
      else if ((code === 45 || code === 42) && text.charCodeAt(at + 1) === 32) c.listLines++
    }
    if (kind === operator) {
      c.operators++
      if (code === 37) c.amounts++
      if (code === 61 && text.charCodeAt(at + 1) === 62) c.codeMarks++
    } else if (kind === bracket) {
      c.brackets++
      if (code === 123 || code === 125) c.codeMarks++
    } else if (kind === quote) {
      c.quotes++
      if (code === 96) c.codeMarks++
    } else if (code === 44) c.commas++
    else if (code === 63 || code === 0xff1f) {
      c.questions++
      c.questionWords = sentenceWords
      endSentence()
    } else if (code === 46 || code === 33 || code === 0x3002) {
      const next = text.charCodeAt(at + 1)
      if (!(next > 32)) endSentence()
    } else if (code === 59) c.codeMarks += text.charCodeAt(at + 1) === 10 ? 1 : 0
    else if (code === 92) c.mathsMarks++
    else if (code === 36) {
      if (isDigit(text.charCodeAt(at + 1))) c.amounts++
      else c.mathsMarks++
    } else if (code === 95) c.blanks++
    else if (code > 127) {
      c.beyondAscii++
      if (isMathsSign(code)) c.mathsMarks++
    }
  }
  if (length > 0) endWord()
  if (figures > 0) endNumber()
  endLine()
  c.ngrams = Int32Array.from(ngrams)
  return c
}

const isDigit = (code: number): boolean => code >= 48 && code <= 57

const isLetter = (code: number): boolean =>
  (code >= 0xc0 && code < 0x2000 && code !== 0xd7 && code !== 0xf7) ||
  (code >= 0x3040 && code < 0xd800) ||
  (code >= 0xf900 && code < 0xfb00)

const isMathsSign = (code: number): boolean =>
  code === 0xb1 || code === 0xb2 || code === 0xb3 || code === 0xd7 || code === 0xf7 || (code >= 0x2200 && code < 0x2300)

/** Whether a line's letter at `at` is the mark of an answer to choose: `A. `, `B) `, `(C) `. */
function startsOption(text: string, at: number): boolean {
  const code = text.charCodeAt(at) | 32
  const after = text.charCodeAt(at + 1)
  return code >= 97 && code <= 106 && (after === 46 || after === 41 || after === 58) && text.charCodeAt(at + 2) === 32
}

/** Whether a line's digits at `at` number an item: `1. `, `12) `. */
function startsListItem(text: string, at: number): boolean {
  const from = isDigit(text.charCodeAt(at + 1)) ? at + 2 : at + 1
  const mark = text.charCodeAt(from)
  return (mark === 46 || mark === 41) && text.charCodeAt(from + 1) === 32
}
