/** A member of a JSON object's outermost level, by its places in the text. */
interface Member {
  key: string
  keyAt: number
  valueAt: number
  end: number
}

const quote = 0x22
const backslash = 0x5c

/**
 * Replaces, adds (a new name) or removes (`undefined`) members of a JSON object's outermost level and leaves every other
 * character as it is, so that numbers, order and spelling reach the provider as they were written. All members of a
 * name are treated alike: parsers differ in which of two they believe.
 * @param text a JSON object that JSON.parse has accepted
 * @param edits JSON texts by name
 */
export function editMembers(text: string, edits: ReadonlyMap<string, string | undefined>): string {
  let kept = ''
  const missing = new Map(edits)
  let removed = false
  let at = text.indexOf('{') + 1
  for (let member = memberAt(text, skipSpace(text, at)); member !== undefined; member = nextMember(text, member.end)) {
    const { key, keyAt, valueAt, end } = member
    if (!edits.has(key)) continue
    const value = edits.get(key)
    missing.delete(key)
    if (value !== undefined) {
      kept += text.slice(at, valueAt) + value
      at = end
    } else {
      removed = true
      kept += text.slice(at, keyAt)
      at = end
      const comma = skipSpace(text, end)
      if (text.charCodeAt(comma) === 0x2c) at = comma + 1
    }
  }
  const rest = kept + text.slice(at)
  let inserted = ''
  for (const [key, value] of missing) {
    if (value !== undefined) inserted += `${inserted === '' ? '' : ','}${JSON.stringify(key)}:${value}`
  }
  return inserted === '' && !removed ? `{${rest}` : `{${joined(inserted, rest)}`
}

/** Members in front of a rest that ends with the object's brace, and that a removal may have left with a comma. */
function joined(inserted: string, rest: string): string {
  const close = rest.lastIndexOf('}')
  const body = rest.slice(0, close).trimEnd().replace(/,$/, '')
  if (inserted === '') return body + rest.slice(close)
  return body.trim() === '' ? inserted + rest.slice(close) : `${inserted},${body}${rest.slice(close)}`
}

function memberAt(text: string, keyAt: number): Member | undefined {
  if (text.charCodeAt(keyAt) !== quote) return undefined
  const keyEnd = endOfString(text, keyAt)
  const written = text.slice(keyAt + 1, keyEnd - 1)
  const key = written.includes('\\') ? (JSON.parse(text.slice(keyAt, keyEnd)) as string) : written
  const valueAt = skipSpace(text, text.indexOf(':', keyEnd) + 1)
  return { key, keyAt, valueAt, end: endOfValue(text, valueAt) }
}

/** @param end of the member before it */
function nextMember(text: string, end: number): Member | undefined {
  const at = skipSpace(text, end)
  return memberAt(text, text.charCodeAt(at) === 0x2c ? skipSpace(text, at + 1) : at)
}

function skipSpace(text: string, from: number): number {
  let at = from
  while (text.charCodeAt(at) <= 0x20) at++
  return at
}

/** @param at the opening quote. @returns the place after the closing one */
function endOfString(text: string, at: number): number {
  for (let end = text.indexOf('"', at + 1); ; end = text.indexOf('"', end + 1)) {
    let escapes = end - 1
    while (text.charCodeAt(escapes) === backslash) escapes--
    if ((end - 1 - escapes) % 2 === 0) return end + 1
  }
}

function endOfValue(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length;) {
    switch (text.charCodeAt(at)) {
      case quote:
        at = endOfString(text, at)
        if (depth === 0) return at
        continue
      case 0x7b:
      case 0x5b:
        depth++
        break
      case 0x7d:
      case 0x5d:
        // Without brackets of its own the value was a number or a word, which the parent's bracket ends.
        if (depth === 0) return at
        if (--depth === 0) return at + 1
        break
      case 0x2c:
        if (depth === 0) return at
    }
    at++
  }
  return text.length
}
