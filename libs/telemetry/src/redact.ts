import { AppError } from '@sluice/errors'

const redacted = '[redacted]'

// Compared without case, dashes and underscores. Prompts and answers belong to tenants, credentials to nobody's log.
const secretNames = new Set(['body', 'messages', 'input', 'instructions', 'content', 'prompt', 'headers', 'cookie'])
const secretEndings = ['authorization', 'key', 'secret', 'token', 'connectionstring', 'password', 'setcookie']

// Drivers quote connection strings, SAS urls and bearer tokens in their messages, where no field name gives them away.
// Keys of Sluice, secrets of webhooks and realtime tokens are known by how they begin.
const secretText =
  /((?:SharedAccessKey|SharedAccessSignature|AccountKey|AccessKey|sig)=)[^;&\s"']+|(Bearer\s+)[^\s"']+|(:\/\/[^:/\s]*:)[^@/\s]+(?=@)|(\b(?:sk-sluice-|whsec_|ek_))[\w+/=-]{8,}/gi

// What every one of them has. Most texts are names and ids, which this passes at a fraction of the cost.
const maybeSecret = /[=@_\s]|sk-/i

const maxDepth = 6
const maxItems = 50
const maxText = 2048

/**
 * A copy of `value` that is safe to log: secrets and tenants' content replaced, errors reduced to what Sluice says
 * about them, and bounded in depth and length whatever was passed.
 */
function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value)
  if (typeof value === 'bigint') return value.toString()
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Error) return redactError(value, depth)
  if (value instanceof Date) return value
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (depth >= maxDepth) return '[deeper]'
  if (Array.isArray(value)) return value.slice(0, maxItems).map((item) => redact(item, depth + 1))
  const safe: Record<string, unknown> = {}
  const fields = value as Record<string, unknown>
  const names = Object.keys(fields)
  for (let at = 0; at < names.length && at < maxItems; at++) {
    const name = names[at] as string
    safe[name] = isSecret(name) ? redacted : redact(fields[name], depth + 1)
  }
  return safe
}

/**
 * What {@link redact} makes of an object's fields, as members of a JSON object: `,"name":value` for each one that has a
 * value. Redacting and printing are one pass, because every line of the log takes it.
 */
export function redactedMembers(value: object): string {
  const fields = value instanceof Error ? (redactError(value, 0) as object) : value
  let members = ''
  let count = 0
  for (const name of Object.keys(fields)) {
    if (++count > maxItems) break
    const text = isSecret(name) ? `"${redacted}"` : jsonOf((fields as Record<string, unknown>)[name])
    if (text !== undefined) members += `,${quoted(name)}:${text}`
  }
  return members
}

function jsonOf(value: unknown): string | undefined {
  switch (typeof value) {
    case 'string':
      return quoted(redactText(value))
    case 'number':
      return Number.isFinite(value) ? String(value) : 'null'
    case 'boolean':
      return value ? 'true' : 'false'
    case 'undefined':
      return undefined
    default:
      return textOf(redact(value, 1))
  }
}

/** As JSON has it: undefined for a function or a symbol, whatever JSON.stringify's type says. */
function textOf(safe: unknown): string | undefined {
  try {
    return JSON.stringify(safe)
  } catch {
    // A toJSON of its own that throws must not cost the line.
    return '"[unprintable]"'
  }
}

// JSON.stringify is not fast for the short plain texts that fields mostly are.
const plain = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/

/** A text as JSON. */
export const quoted = (text: string): string => (plain.test(text) ? `"${text}"` : JSON.stringify(text))

/** `text` without the credentials that it quotes, shortened to what a log line can bear. */
export function redactText(text: string): string {
  const short = text.length > maxText ? `${text.slice(0, maxText)}… (${text.length} characters)` : text
  if (!maybeSecret.test(short)) return short
  return short.replace(secretText, (_, pair?: string, bearer?: string, user?: string, prefix?: string) => {
    return `${pair ?? bearer ?? user ?? prefix ?? ''}${redacted}`
  })
}

// A vendor's error carries the request that failed: its configuration, headers and payload. Only named fields pass.
function redactError(error: Error, depth: number): unknown {
  const { code, statusCode } = error as { code?: unknown; statusCode?: unknown }
  return {
    type: error.name,
    message: redactText(error.message),
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    ...(typeof statusCode === 'number' ? { statusCode } : {}),
    ...(error instanceof AppError && error.param !== undefined ? { param: error.param } : {}),
    ...(error.stack === undefined ? {} : { stack: redactText(error.stack) }),
    ...(error.cause === undefined || depth >= maxDepth ? {} : { cause: redact(error.cause, depth + 1) }),
  }
}

// Field names are those of the code and come again with every line. What a tenant names could be endless.
const known = new Map<string, boolean>()
const maxKnown = 1_000

function isSecret(name: string): boolean {
  const found = known.get(name)
  if (found !== undefined) return found
  const plain = name.toLowerCase().replace(/[-_]/g, '')
  const secret = secretNames.has(plain) || secretEndings.some((ending) => plain.endsWith(ending))
  if (known.size < maxKnown) known.set(name, secret)
  return secret
}
