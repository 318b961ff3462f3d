import { createHmac, timingSafeEqual } from 'node:crypto'
import type { AccessKey, AccessRight } from '../config/access-key.ts'

/** What a valid token allows: rights on an entity's path and everything below it, for a time. */
export type Claim = { path: string; rights: Set<AccessRight>; expiresAtMs: number }

const prefix = 'SharedAccessSignature '

/**
 * Checks a shared access signature: `sr` (resource), `sig` (HMAC-SHA256 over resource and expiry), `se` (expiry in
 * seconds), `skn` (key name).
 * @returns what it allows, or why it is refused
 */
export const verifySasToken = (token: string, keys: AccessKey[], now: number): Claim | string => {
  if (!token.startsWith(prefix)) return 'The token is not a shared access signature.'
  const fields = new Map(
    token
      .slice(prefix.length)
      .split('&')
      .map((field) => [field.slice(0, field.indexOf('=')), field.slice(field.indexOf('=') + 1)]),
  )
  const [resource, signature, expiry, keyName] = ['sr', 'sig', 'se', 'skn'].map((name) => fields.get(name) ?? '')
  const accessKey = keys.find((candidate) => candidate.keyName === decode(keyName))
  if (accessKey === undefined) return `There is no key named '${decode(keyName)}'.`
  const expected = accessKey.keys.map((key) => createHmac('sha256', key).update(`${resource}\n${expiry}`).digest())
  const given = Buffer.from(decode(signature), 'base64')
  if (!expected.some((digest) => digest.length === given.length && timingSafeEqual(digest, given)))
    return 'The signature is invalid.'
  const expiresAtMs = Number(expiry) * 1000
  if (!(expiresAtMs > now)) return 'The token has expired.'
  return { path: entityPath(decode(resource)), rights: accessKey.rights, expiresAtMs }
}

const decode = (text: string | undefined): string => {
  try {
    return decodeURIComponent(text ?? '')
  } catch {
    return ''
  }
}

/** The entity part of an address: no scheme, host, query or surrounding slashes. */
export const entityPath = (address: string): string =>
  address
    .replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, '')
    .replace(/\?.*$/, '')
    .replace(/^\/+|\/+$/g, '')

/** Whether one of the claims gives the right on the path. */
export const allows = (claims: Claim[], path: string, right: AccessRight, now: number): boolean =>
  claims.some(({ path: granted, rights, expiresAtMs }) => {
    const [inner, outer] = [path.toLowerCase(), granted.toLowerCase()]
    return rights.has(right) && expiresAtMs > now && (outer === '' || inner === outer || inner.startsWith(`${outer}/`))
  })
