/** The end of an answer that comes to a result. */
export interface FinalAnswer {
  /** What is stated, without markup. */
  text: string
  /** The answer marks it as its result. */
  marked: boolean
  /** Its number, where it begins with one. */
  number: number | undefined
  /** The number is written with decimals. */
  decimals: boolean
  /** Something is said after the number. */
  trailing: boolean
}

const markers = [/####[ \t]*([^\n]*)/g, /\\boxed\{([^{}\n]*)\}/g, /\banswer(?: is|:)[ \t]*([^\n]*)/gi]

/** What an answer says at its end: after its own mark (`####`, `\boxed`, "the answer is"), else its last line. */
export function finalAnswer(answer: string): FinalAnswer {
  const marked = markers.map((marker) => [...answer.matchAll(marker)].at(-1)?.[1]).find((found) => found !== undefined)
  const isMarked = marked !== undefined
  const text = plain(marked ?? answer.trim().split('\n').at(-1) ?? '')
  const number = isMarked ? /^-?[\d,]*\.?\d+/.exec(text)?.[0] : text.match(/-?\d[\d,]*(?:\.\d+)?/g)?.at(-1)
  if (number === undefined) return { text, marked: isMarked, number: undefined, decimals: false, trailing: text !== '' }
  const trailing = isMarked && text.slice(number.length).replace(/^[\s.%]+/, '') !== ''
  return { text, marked: isMarked, number: toNumber(number), decimals: number.includes('.'), trailing }
}

/** Whether two answers come to the same: their numbers, else the words of what they state. */
export function agree(a: string, b: string): boolean {
  const [one, other] = [finalAnswer(a), finalAnswer(b)]
  if (one.number !== undefined || other.number !== undefined) return one.number === other.number
  const words = (text: string): string =>
    text
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu)
      ?.join(' ') ?? ''
  return words(one.text) !== '' && words(one.text) === words(other.text)
}

const plain = (text: string): string => text.replaceAll(/[*$\\`_]/g, '').trim()
export const toNumber = (text: string): number => Number(text.replaceAll(',', ''))
