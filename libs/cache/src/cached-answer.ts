import type { TierName, Usage } from '@sluice/contracts'

/** An answer worth giving again, and what it cost the first time. */
export interface CachedAnswer {
  status_code: number
  content_type: string
  /** JSON as a value; anything else (speech) as bytes. */
  body: unknown
  usage: Usage
  cost_usd: number
  model: string
  deployment: string
  region: string
  tier: TierName | null
}

/** A row of the container `cache`, key [/tenant, /id]; Cosmos removes it after `ttl` seconds. */
export interface CacheRow {
  id: string
  tenant: string
  /** Groups entries that may answer each other; absent on exact entries. */
  group?: string
  /** Little-endian float32, base64, of length one. */
  vector?: string
  answer: Omit<CachedAnswer, 'body'> & { json?: unknown; base64?: string }
  created_at: string
  ttl: number
}

export function packAnswer({ body, ...facts }: CachedAnswer): CacheRow['answer'] {
  return body instanceof Uint8Array
    ? { ...facts, base64: Buffer.from(body).toString('base64') }
    : { ...facts, json: body }
}

export function unpackAnswer({ json, base64, ...facts }: CacheRow['answer']): CachedAnswer {
  return { ...facts, body: base64 === undefined ? json : Buffer.from(base64, 'base64') }
}

/**
 * Whether an answer may stand for later ones: complete, not filtered and not an error. A cut or filtered answer is one
 * request's misfortune.
 */
export function isCacheable({ status_code, body }: Pick<CachedAnswer, 'status_code' | 'body'>): boolean {
  if (status_code !== 200) return false
  if (body instanceof Uint8Array) return body.byteLength > 0
  if (typeof body !== 'object' || body === null) return false
  const { choices, status } = body as { choices?: unknown; status?: unknown }
  if (status !== undefined && status !== 'completed') return false
  if (!Array.isArray(choices)) return true
  return choices.every((choice) => {
    const reason = (choice as { finish_reason?: unknown } | null)?.finish_reason
    return reason === 'stop' || reason === 'tool_calls'
  })
}
