/** Kinds of characters that the scan tells apart. */
const other = 0
export const letter = 1
export const digit = 2
export const space = 3
export const operator = 4
export const bracket = 5
export const quote = 6

const asciiKinds = Uint8Array.from({ length: 128 }, (_, code) => kindOfAscii(String.fromCharCode(code)))

function kindOfAscii(char: string): number {
  if (/[a-z]/i.test(char)) return letter
  if (/\d/.test(char)) return digit
  if (/\s/.test(char)) return space
  if ('+*/=^<>%|~'.includes(char)) return operator
  if ('()[]{}'.includes(char)) return bracket
  return '"\'`'.includes(char) ? quote : other
}

export const kindOf = (code: number): number =>
  code < 128 ? (asciiKinds[code] as number) : isLetterBeyondAscii(code) ? letter : other

/** Letters of the alphabets up to U+1FFF, kana, ideographs and Hangul, by their blocks: exact enough to find words. */
const isLetterBeyondAscii = (code: number): boolean =>
  (code >= 0xc0 && code < 0x2000 && code !== 0xd7 && code !== 0xf7) ||
  (isIdeographic(code) && code < 0xd800) ||
  (code >= 0xf900 && code < 0xfb00)

/** Whether a character stands for a word of its own: such scripts put no spaces between words. */
export const isIdeographic = (code: number): boolean => code >= 0x3040

export const isDigit = (code: number): boolean => code >= 48 && code <= 57

/** ± ² ³ × ÷ and the block of mathematical operators. */
export const isMathsSign = (code: number): boolean =>
  code === 0xb1 || code === 0xb2 || code === 0xb3 || code === 0xd7 || code === 0xf7 || (code >= 0x2200 && code < 0x2300)

/** Whether a line's letter at `at` marks an answer to choose: `A. `, `B) `, and the letter of `(C) `. */
export function startsOption(text: string, at: number): boolean {
  const code = text.charCodeAt(at) | 32
  const mark = text[at + 1] ?? ''
  return code >= 97 && code <= 106 && mark !== '' && '.):'.includes(mark) && text[at + 2] === ' '
}

/** Whether a line's first character at `at` starts an item: `1. `, `12) `, `- `, `* `. */
export function startsListItem(text: string, at: number): boolean {
  const first = text[at]
  if (first === '-' || first === '*') return text[at + 1] === ' '
  if (!isDigit(text.charCodeAt(at))) return false
  const after = isDigit(text.charCodeAt(at + 1)) ? at + 2 : at + 1
  return (text[after] === '.' || text[after] === ')') && text[after + 1] === ' '
}
