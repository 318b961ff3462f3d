import type { Usage } from '@sluice/contracts'
import { readUsage } from './usage.ts'

const needle = Buffer.from('"usage"')
const quote = 0x22
const open = 0x7b
const close = 0x7d
const backslash = 0x5c

/**
 * The usage of an answer from its last bytes, without parsing the rest. A quoted `"usage"` cannot stand inside a JSON
 * string, whose quotes are escaped; where it is a value and not a key, no object follows.
 */
export function usageInTail(bytes: Buffer): Usage | undefined {
  for (let at = bytes.lastIndexOf(needle); at >= 0; at = at === 0 ? -1 : bytes.lastIndexOf(needle, at - 1)) {
    const start = objectAfter(bytes, at + needle.length)
    const end = start === -1 ? -1 : endOfObject(bytes, start)
    if (end === -1) continue
    try {
      return readUsage({ usage: JSON.parse(bytes.toString('utf8', start, end)) as unknown })
    } catch {
      // Not JSON after all: an earlier one may be.
    }
  }
  return undefined
}

function objectAfter(bytes: Buffer, from: number): number {
  let colons = 0
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at] as number
    if (byte === open) return colons === 1 ? at : -1
    if (byte === 0x3a) colons++
    else if (byte > 0x20) return -1
  }
  return -1
}

function endOfObject(bytes: Buffer, start: number): number {
  let depth = 0
  let inString = false
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at]
    if (inString) {
      if (byte === backslash) at++
      else if (byte === quote) inString = false
    } else if (byte === quote) inString = true
    else if (byte === open) depth++
    else if (byte === close && --depth === 0) return at + 1
  }
  return -1
}
