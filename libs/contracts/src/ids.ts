import { createHash } from 'node:crypto'

/**
 * The identity of a request: the same tenant and key give the same id on every path and after every crash, which is
 * what makes a re-send harmless. The key is the caller's Idempotency-Key, else the message id, else queue and
 * sequence number.
 */
export function requestIdOf(tenant: string, key: string): string {
  return `req_${createHash('sha256').update(`${tenant.length}:${tenant}\n${key}`).digest('hex').slice(0, 32)}`
}

export const isRequestId = (text: string): boolean => /^req_[0-9a-f]{32}$/.test(text)

/** SHA-256 over the value's JSON with sorted keys: equal for equal values whatever order their fields came in. */
export function contentHash(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex')
}

/** JSON with the keys of every object sorted and undefined fields left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null'
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, field]) => `${JSON.stringify(name)}:${canonicalJson(field)}`)
  return `{${fields.join(',')}}`
}
