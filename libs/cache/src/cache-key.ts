import { contentHash, type DeploymentUrl, type SluiceOptions } from '@sluice/contracts'

/** What a cached answer depends on besides the tenant. */
export interface CacheAsk {
  tenant: string
  url: DeploymentUrl
  /** The request's body as the caller sent it. */
  body: Readonly<Record<string, unknown>>
  /** `region.only` and `tier` narrow where an answer may come from, so they are part of what was asked. */
  options?: Pick<SluiceOptions, 'region' | 'tier'> | undefined
}

// How the answer travels, who asked and what the provider files it under do not change what it says.
const irrelevant: ReadonlySet<string> = new Set([
  'stream',
  'stream_options',
  'user',
  'safety_identifier',
  'prompt_cache_key',
  'metadata',
  'store',
  'service_tier',
])

/**
 * The identity of an exact entry: equal for bodies that differ only in the order of their fields or in fields that do
 * not change the answer.
 */
export const exactKey = (ask: CacheAsk): string => contentHash({ ...frameOf(ask), body: relevant(ask.body) })

/**
 * A prompt split for semantic comparison: the text that may differ in wording, and the hash of everything else (system
 * messages, tools, parameters, earlier turns), which must be the same to the letter.
 */
export interface SemanticAsk {
  text: string
  group: string
}

const longestText = 8_000

/**
 * @returns undefined for what wording alone does not identify: images and audio, answers of tools, very long texts, and
 * everything but chats and responses.
 */
export function semanticAsk(ask: CacheAsk): SemanticAsk | undefined {
  const { url, body } = ask
  if (url === '/v1/responses' && typeof body.input === 'string') {
    const { input: text, ...rest } = relevant(body)
    return split(ask, String(text), rest)
  }
  if (url !== '/v1/chat/completions' || !Array.isArray(body.messages)) return undefined
  const messages: unknown[] = body.messages
  const last = messages.at(-1) as { role?: unknown; content?: unknown } | undefined
  if (last?.role !== 'user' || typeof last.content !== 'string') return undefined
  const { messages: _, ...rest } = relevant(body)
  return split(ask, last.content, { ...rest, before: messages.slice(0, -1) })
}

function split(ask: CacheAsk, text: string, rest: object): SemanticAsk | undefined {
  if (text.trim() === '' || text.length > longestText) return undefined
  return { text, group: contentHash({ ...frameOf(ask), rest }) }
}

const frameOf = ({ tenant, url, options }: CacheAsk) => ({
  tenant,
  url,
  only: options?.region?.only?.toSorted(),
  tier: options?.tier,
})

const relevant = (body: CacheAsk['body']): Record<string, unknown> =>
  Object.fromEntries(Object.entries(body).filter(([name]) => !irrelevant.has(name)))
