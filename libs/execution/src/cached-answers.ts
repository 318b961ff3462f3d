import { type AnswerCache, type CacheAsk, type CachedAnswer, type CacheMode, replayStream } from '@sluice/cache'
import type { Outcome, RunInput } from './execution-types.ts'
import type { Accounts } from './accounts.ts'
import type { Answered, Journal } from './journal.ts'

/** The cache as a run sees it: asked before anything else, and given what came of a call. */
export function createCachedAnswers({ cache, accounts }: { cache: AnswerCache | undefined; accounts: Accounts }) {
  return {
    /** The outcome of a request that was answered before; undefined when it has to run. */
    async lookup(input: RunInput, journal: Journal, signal: AbortSignal): Promise<Outcome | undefined> {
      const mode = modeOf(input)
      if (cache === undefined || mode === undefined) return undefined
      const hit = await cache.lookup(askOf(input), mode, signal)
      journal.cache = hit === undefined ? 'miss' : 'hit'
      if (hit === undefined) return undefined
      const { answer, similarity } = hit
      if (input.onDelta !== undefined && input.body.stream === true) replay(answer.body, input.onDelta)
      const alwaysLargeUsd = accounts.alwaysLargeUsd(answer.usage, input.url, answer.cost_usd)
      const { tenant } = input
      accounts.sold({ tenant, model: answer.model, usage: answer.usage, costUsd: 0, wasteUsd: 0, alwaysLargeUsd })
      return outcomeOf(answer, similarity, alwaysLargeUsd, input)
    },

    keep(input: RunInput, { deployment, model, answer, costUsd }: Answered): void {
      const mode = modeOf(input)
      if (cache === undefined || mode === undefined) return
      cache.store(askOf(input), mode, {
        status_code: answer.status,
        content_type: answer.contentType ?? 'application/json',
        body: answer.body,
        usage: answer.usage,
        cost_usd: costUsd,
        model,
        deployment: deployment.name,
        region: deployment.region,
        tier: deployment.tier ?? null,
      })
    },
  }
}

function outcomeOf(answer: CachedAnswer, similarity: number, alwaysLargeUsd: number, input: RunInput): Outcome {
  const { status_code, content_type, body, usage, model, deployment, region, tier } = answer
  const why = similarity === 1 ? 'answered before' : `answered before, similarity ${similarity.toFixed(3)}`
  return {
    kind: 'done',
    status: 'succeeded',
    response: {
      status_code,
      request_id: input.requestId,
      body,
      ...(content_type === 'application/json' ? {} : { content_type }),
    },
    error: null,
    decision: { score: null, tier, model, deployment, region, why, attempts: [], cache: 'hit', escalated: false },
    usage,
    costUsd: 0,
    wasteUsd: 0,
    alwaysLargeUsd,
    modelMs: 0,
  }
}

/** Hands a stored answer on as the events in which it would have been streamed. */
function replay(body: unknown, onDelta: (event: unknown) => void): void {
  for (const event of replayStream(body, false)) {
    const data = event
      .split('\n')
      .find((line) => line.startsWith('data: '))
      ?.slice('data: '.length)
    if (data !== undefined && data !== '[DONE]') onDelta(JSON.parse(data))
  }
}

const askOf = ({ tenant, url, body, options }: RunInput): CacheAsk => ({ tenant, url, body, options })

/**
 * How a request wants the cache to be asked; undefined: not at all. A recording is not part of what an entry is found by,
 * and speech in events is not what is kept of it.
 */
export function modeOf({
  options,
  url,
  body,
}: Pick<RunInput, 'options' | 'body'> & { url: string }): CacheMode | undefined {
  const mode = options?.cache
  if (mode !== 'exact' && mode !== 'semantic') return undefined
  if (url === '/v1/audio/transcriptions') return undefined
  if (url !== '/v1/audio/speech') return mode
  return body.stream_format === 'sse' ? undefined : 'exact'
}
