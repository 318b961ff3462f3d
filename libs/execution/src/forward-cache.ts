import { type AnswerCache, type CacheAsk, type CachedAnswer, type CacheMode, replayStream } from '@sluice/cache'
import type { Deployment, Usage } from '@sluice/contracts'
import type { ForwardInput, ForwardSink } from './forward-types.ts'

/**
 * The cache on the synchronous path. Streams are answered from it and do not fill it: their text went by in pieces
 * that nobody kept.
 */
export function createForwardCache(cache: AnswerCache | undefined) {
  const modeOf = ({ options, url }: ForwardInput): CacheMode | undefined => {
    const mode = options?.cache
    if (cache === undefined || (mode !== 'exact' && mode !== 'semantic')) return undefined
    return url.startsWith('/v1/audio') ? undefined : mode
  }

  return {
    /** @returns what was answered, undefined when the request has to run */
    async answer(input: ForwardInput, sink: ForwardSink): Promise<CachedAnswer | undefined> {
      const mode = modeOf(input)
      const hit = mode === undefined ? undefined : await cache?.lookup(askOf(input), mode)
      if (hit === undefined || sink.closed) return undefined
      replay(hit.answer, input, sink)
      return hit.answer
    },

    keep(input: ForwardInput, deployment: Deployment, whole: Buffer, usage: Usage, costUsd: number): void {
      const mode = modeOf(input)
      if (mode === undefined) return
      const { name, region, model, tier = null } = deployment
      cache?.store(askOf(input), mode, {
        status_code: 200,
        content_type: 'application/json',
        body: JSON.parse(whole.toString('utf8')) as unknown,
        usage,
        cost_usd: costUsd,
        model,
        deployment: name,
        region,
        tier,
      })
    },
  }
}

const askOf = ({ tenant, url, body, options }: ForwardInput): CacheAsk => ({ tenant, url, body, options })

function replay(answer: CachedAnswer, { body, url, payload }: ForwardInput, sink: ForwardSink): void {
  const { deployment: name, region, model, tier } = answer
  const deployment = { name, region, model, tier: tier ?? undefined }
  const streams = body.stream === true && url !== '/v1/embeddings'
  const bytes = streams
    ? Buffer.from(replayStream(answer.body, !payload.stripUsage).join(''))
    : Buffer.from(JSON.stringify(answer.body))
  const contentType = streams ? 'text/event-stream' : answer.content_type
  sink.start({ status: 200, contentType, contentLength: bytes.length, deployment, score: null, fromCache: true })
  sink.end(bytes)
}
