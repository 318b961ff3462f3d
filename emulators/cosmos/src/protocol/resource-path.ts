/** A request path taken apart: `/dbs/d/colls/c/docs/i` → `['dbs','d','colls','c','docs','i']`, unescaped. */
export interface ResourcePath {
  segments: string[]
  /** The last collection name: `dbs`, `colls`, `docs`, …; empty for the account. */
  resourceType: string
  /** What clients sign (operations on a container sign as the container): the resource itself, or the parent of a feed; unescaped first, then as sent. */
  signedLinks: string[]
}

const unescape = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** `url` is the request target. Cosmos DB has no query strings, so a `?` belongs to an item's id. */
export const parseResourcePath = (url: string): ResourcePath => {
  const raw = url.split('/').filter((segment) => segment !== '')
  const segments = raw.map(unescape)
  if (segments[4] === 'operations')
    return {
      segments,
      resourceType: 'colls',
      signedLinks: [...new Set([segments.slice(0, 4).join('/'), raw.slice(0, 4).join('/')])],
    }
  const isFeed = raw.length % 2 === 1
  const signed = (parts: string[]): string => (isFeed ? parts.slice(0, -1) : parts).join('/')
  const resourceType = (isFeed ? segments.at(-1) : segments.at(-2)) ?? ''
  return {
    segments,
    resourceType: resourceType.toLowerCase(),
    signedLinks: [...new Set([signed(segments), signed(raw)])],
  }
}
