import { AppError } from '@sluice/errors'

/** What a `Prefer` header asks of a synchronous route (RFC 7240). */
export interface Preference {
  /** Whole seconds to wait for the answer before a 202; 0 answers at once. */
  waitSeconds: number
}

/** Longer waits are cut: the answer says which one was applied. */
const longestWaitSeconds = 60

/**
 * @param header every `Prefer` header of the request, joined by commas
 * @returns undefined unless it asks for an asynchronous answer; preferences that nobody knows are left aside
 * @throws AppError `invalid_line` for a wait that is no number of seconds
 */
export function preferenceOf(header: string | readonly string[] | undefined): Preference | undefined {
  const named = new Map<string, string>()
  for (const part of [header ?? []].flat().join(',').split(',')) {
    // Parameters of a preference follow a semicolon; none is known for these two.
    const [name = '', value = ''] = (part.split(';', 1)[0] ?? '').split('=', 2).map((text) => text.trim())
    // The first one counts when a preference is there twice (RFC 7240, section 2).
    if (!named.has(name.toLowerCase())) named.set(name.toLowerCase(), value.replace(/^"(.*)"$/, '$1'))
  }
  if (!named.has('respond-async')) return undefined
  const wait = named.get('wait')
  if (wait === undefined) return { waitSeconds: 0 }
  if (!/^\d{1,6}$/.test(wait))
    throw new AppError('invalid_line', 'Prefer: wait is a number of seconds', { param: 'Prefer' })
  return { waitSeconds: Math.min(Number(wait), longestWaitSeconds) }
}

/** What goes into `Preference-Applied`. */
export function appliedPreference({ waitSeconds }: Preference, queued: boolean): string {
  const applied = [...(queued ? ['respond-async'] : []), ...(waitSeconds > 0 ? [`wait=${waitSeconds}`] : [])]
  return applied.join(', ')
}
