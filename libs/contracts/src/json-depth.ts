/** Deeper than any prompt, tool or schema that a provider takes. */
const maxDepth = 256

const quote = 0x22
const backslash = 0x5c

/**
 * Whether a JSON text nests too deeply to be parsed. JSON.parse takes a million levels, in seconds, and whatever walks
 * the value afterwards, JSON.stringify among them, runs out of stack after some thousands. Text inside strings does not
 * count; of what is no JSON at all the parser tells.
 */
export function nestsTooDeeply(text: string): boolean {
  // Every level takes a character.
  if (text.length <= maxDepth) return false
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case quote:
        at = endOfString(text, at)
        break
      case 0x5b:
      case 0x7b:
        if (++depth > maxDepth) return true
        break
      case 0x5d:
      case 0x7d:
        depth--
    }
  }
  return false
}

/** @param at the opening quote. @returns the place of the closing one, or the end of the text */
function endOfString(text: string, at: number): number {
  for (let end = text.indexOf('"', at + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let escapes = end - 1
    while (text.charCodeAt(escapes) === backslash) escapes--
    if ((end - 1 - escapes) % 2 === 0) return end
  }
  return text.length
}

/** For whoever sent it. */
export const tooDeepMessage = `JSON may nest ${maxDepth} levels deep.`
