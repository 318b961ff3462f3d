import { type AnswerCache, type CacheAsk, type CachedAnswer, type CacheMode, replayStream } from '@sluice/cache'
import type { Deployment, Usage } from '@sluice/contracts'
import { modeOf } from './cached-answers.ts'
import type { ForwardInput, ForwardSink } from './forward-types.ts'

/**
 * The cache on the synchronous path. Streams of text are answered from it and do not fill it: they went by in pieces
 * that nobody kept. Speech is kept while it goes by, as long as it is short enough to be stored.
 */
export function createForwardCache(cache: AnswerCache | undefined) {
  return {
    /** @returns what was answered, undefined when the request has to run; undefined at once when it does not ask */
    answer(input: ForwardInput, sink: ForwardSink): Promise<CachedAnswer | undefined> | undefined {
      const mode = modeOf(input)
      return cache === undefined || mode === undefined ? undefined : answerFrom(cache, mode, input, sink)
    },

    /** How much of an answer that is passed on as it comes is worth keeping; 0: none of it. */
    keptBytes(input: ForwardInput): number {
      if (cache === undefined || input.url !== '/v1/audio/speech') return 0
      return modeOf(input) === undefined ? 0 : cache.maxSoundBytes
    },

    keep(input: ForwardInput, deployment: Deployment, answer: WholeAnswer, usage: Usage, costUsd: number): void {
      const mode = modeOf(input)
      if (mode === undefined) return
      const { name, region, model, tier = null } = deployment
      const { bytes, contentType } = answer
      const isJson = contentType.startsWith('application/json')
      cache?.store(askOf(input), mode, {
        status_code: 200,
        content_type: isJson ? 'application/json' : contentType,
        body: isJson ? (JSON.parse(bytes.toString('utf8')) as unknown) : bytes,
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

async function answerFrom(
  cache: AnswerCache,
  mode: CacheMode,
  input: ForwardInput,
  sink: ForwardSink,
): Promise<CachedAnswer | undefined> {
  const hit = await cache.lookup(askOf(input), mode)
  if (hit === undefined || sink.closed) return undefined
  replay(hit.answer, input, sink)
  return hit.answer
}

/** An answer that was held, from its first byte to its last. */
export interface WholeAnswer {
  bytes: Buffer
  contentType: string
}

/** As the queue asks, which has Sluice's options apart: either finds what the other one stored. */
function askOf({ tenant, url, body, options }: ForwardInput): CacheAsk {
  const { sluice: _, ...asked } = body
  return { tenant, url, body: asked, options }
}

function replay(answer: CachedAnswer, { body, url, payload }: ForwardInput, sink: ForwardSink): void {
  const { deployment: name, region, model, tier } = answer
  const deployment = { name, region, model, tier: tier ?? undefined }
  const streams = body.stream === true && (url === '/v1/chat/completions' || url === '/v1/responses')
  const contentType = streams ? 'text/event-stream' : answer.content_type
  const bytes = streams
    ? Buffer.from(replayStream(answer.body, !payload.stripUsage).join(''))
    : Buffer.isBuffer(answer.body)
      ? answer.body
      : Buffer.from(JSON.stringify(answer.body))
  sink.start({ status: 200, contentType, contentLength: bytes.length, deployment, score: null, fromCache: true })
  sink.end(bytes)
}
