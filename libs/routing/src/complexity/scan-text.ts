import {
  bracket,
  digit,
  isDigit,
  isIdeographic,
  isMathsSign,
  kindOf,
  letter,
  operator,
  quote,
  space,
  startsListItem,
  startsOption,
} from './characters.ts'
import { groupsOfWord, hashStart, hashStep } from './lexicon.ts'
import { BucketSet, mixHashes } from './ngram-set.ts'
import { nothingCounted, type TextCounts } from './text-counts.ts'

/** Counts what the features need, in one pass whose time is linear in the text, whatever it holds. */
export function scanText(text: string): TextCounts {
  return new Scan(text).run()
}

// Scratch space of the scan under way: a scan is synchronous and clears them first.
const ngramsSeen = new BucketSet()
const wordsSeen = new BucketSet()

const unigram = 0x51ed
const numberHashes = [0, 1, 2, 3].map((figures) => mixHashes(hashStart, 1_000_003 * (figures + 1)))
const longestNamedNumber = numberHashes.length - 1

class Scan {
  readonly #text: string
  readonly #counts = nothingCounted()
  // The word or number that the scan is in.
  #hash = hashStart
  #letters = 0
  #capital = false
  #figures = 0
  #previousToken = 0
  // The sentence and the line that it is in.
  #sentenceTokens = 0
  #lineTokens = 0
  #lineNumbers = 0
  #atLineStart = true
  #inOption = false

  constructor(text: string) {
    this.#text = text
    this.#counts.chars = text.length
    ngramsSeen.clear()
    wordsSeen.clear()
  }

  run(): TextCounts {
    const text = this.#text
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at)
      const kind = kindOf(code)
      if (kind === letter) this.#letter(code, at)
      else if (kind === digit) this.#digit(at)
      else if (!this.#continues(code, at)) this.#mark(code, kind, at)
    }
    this.#endToken()
    this.#endLine()
    return this.#counts
  }

  #letter(code: number, at: number): void {
    if (this.#figures > 0) this.#endNumber()
    if (this.#atLineStart) this.#startLine(at)
    const isUpper = code >= 65 && code <= 90
    if (this.#letters === 0) this.#capital = isUpper
    this.#letters++
    this.#hash = hashStep(this.#hash, isUpper ? code | 32 : code)
    if (code <= 127) return
    this.#counts.beyondAscii++
    if (isIdeographic(code)) this.#endWord()
  }

  #digit(at: number): void {
    if (this.#letters > 0) this.#endWord()
    if (this.#atLineStart) this.#startLine(at)
    this.#counts.digits++
    this.#figures++
  }

  /** Whether a mark belongs into the word or number around it: `don't`, `3.14`, `1,204`. Ends them when it does not. */
  #continues(code: number, at: number): boolean {
    if (this.#letters > 0 && (code === 39 || code === 0x2019)) return true
    if (this.#figures > 0 && (code === 46 || code === 44) && isDigit(this.#text.charCodeAt(at + 1))) {
      if (code === 46) this.#counts.decimals++
      return true
    }
    this.#endToken()
    return false
  }

  #mark(code: number, kind: number, at: number): void {
    const c = this.#counts
    if (kind === space) {
      if (code === 10) this.#endLine()
      return
    }
    if (this.#atLineStart) this.#startLine(at)
    const next = this.#text.charCodeAt(at + 1)
    if (kind === operator) {
      c.operators++
      if (code === 37) c.amounts++
      if (code === 61 && next === 62) c.codeMarks++
    } else if (kind === bracket) {
      c.brackets++
      if (code === 123 || code === 125) c.codeMarks++
    } else if (kind === quote) {
      c.quotes++
      if (code === 96) c.codeMarks++
    } else this.#punctuation(code, next)
  }

  #punctuation(code: number, next: number): void {
    const c = this.#counts
    if (code > 127) c.beyondAscii++
    switch (code) {
      case 0x2c: // ,
        c.commas++
        break
      case 0x3f: // ?
      case 0xff1f: // ？
        c.questions++
        c.questionLength = this.#sentenceTokens
        this.#endSentence()
        break
      case 0x2e: // .
      case 0x21: // !
        if (!(next > 32)) this.#endSentence()
        break
      case 0x3002: // 。
        this.#endSentence()
        break
      case 0x3b: // ;
        if (next === 10) c.codeMarks++
        break
      case 0x5c: // \
        c.mathsMarks++
        break
      case 0x24: // $
        if (isDigit(next)) c.amounts++
        else c.mathsMarks++
        break
      case 0x5f: // _
        c.blanks++
        break
      default:
        if (isMathsSign(code)) c.mathsMarks++
    }
  }

  #startLine(at: number): void {
    this.#atLineStart = false
    this.#inOption = startsOption(this.#text, this.#text[at] === '(' ? at + 1 : at)
    if (startsListItem(this.#text, at)) this.#counts.listLines++
  }

  #endToken(): void {
    if (this.#letters > 0) this.#endWord()
    else if (this.#figures > 0) this.#endNumber()
  }

  #endWord(): void {
    const c = this.#counts
    c.words++
    c.wordLetters += this.#letters
    if (this.#letters >= 9) c.longWords++
    if (this.#capital && this.#sentenceTokens > 0) c.capitalisedWords++
    if (wordsSeen.add(mixHashes(this.#hash, 7)) >= 0) c.distinctWords++
    for (let group = 0, bits = groupsOfWord.get(this.#hash) ?? 0; bits !== 0; group++, bits >>>= 1) {
      if ((bits & 1) === 1) c.groups[group] = (c.groups[group] as number) + 1
    }
    this.#addToken(this.#hash)
    this.#hash = hashStart
    this.#letters = 0
  }

  #endNumber(): void {
    const c = this.#counts
    c.numbers++
    this.#lineNumbers++
    c.longestNumber = Math.max(c.longestNumber, this.#figures)
    this.#addToken(numberHashes[Math.min(longestNamedNumber, this.#figures)] as number)
    this.#figures = 0
  }

  #addToken(token: number): void {
    const { ngrams } = this.#counts
    const own = ngramsSeen.add(mixHashes(token, unigram))
    if (own >= 0) ngrams.push(own)
    const pair = ngramsSeen.add(mixHashes(token, this.#previousToken))
    if (pair >= 0) ngrams.push(pair)
    this.#previousToken = token
    this.#sentenceTokens++
    this.#lineTokens++
  }

  #endSentence(): void {
    if (this.#sentenceTokens === 0) return
    this.#counts.sentences++
    this.#counts.longestSentence = Math.max(this.#counts.longestSentence, this.#sentenceTokens)
    this.#sentenceTokens = 0
  }

  #endLine(): void {
    const c = this.#counts
    c.lines++
    if (this.#inOption) {
      c.options++
      c.optionWords += this.#lineTokens
      c.longestOption = Math.max(c.longestOption, this.#lineTokens)
      if (this.#lineNumbers > 0) c.optionsWithNumbers++
    }
    this.#endSentence()
    this.#atLineStart = true
    this.#inOption = false
    this.#lineTokens = 0
    this.#lineNumbers = 0
  }
}
