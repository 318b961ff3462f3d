import { countTokens as countExactly, decode, encode } from 'gpt-tokenizer/encoding/o200k_base'

// Prompts are data: a prompt that spells <|endoftext|> is text to be counted, not an error.
const plainText = { disallowedSpecial: new Set<string>() }

// Merging byte pairs is quadratic in the length of one unbroken run (a 100,000 letter "word" takes 4 s), so long runs
// are cut before they are counted; the cut costs at most one token each.
const longRun = /\S{300}|\s{300}/
const cutLength = 128

/** Tokens of a text in o200k_base, the encoding of the gpt-4o and later families. */
export function countTokens(text: string): number {
  if (text.length < 300 || !longRun.test(text)) return countExactly(text, plainText)
  let tokens = 0
  for (let at = 0; at < text.length; at += cutLength) tokens += countExactly(text.slice(at, at + cutLength), plainText)
  return tokens
}

/**
 * The text cut into its tokens. A token that ends inside a character is joined with the next one, as the service does
 * in a stream, so that every piece is valid UTF-8 and the pieces concatenate to the text.
 */
export function splitTokens(text: string): string[] {
  const pieces: string[] = []
  let pending: number[] = []
  for (const token of encode(text, plainText)) {
    pending.push(token)
    const piece = decode(pending)
    if (piece.includes('\uFFFD') && pending.length < 8) continue
    pieces.push(piece)
    pending = []
  }
  if (pending.length > 0) pieces.push(decode(pending))
  return pieces
}
