import { AppError } from '@sluice/errors'
import type { Execution } from './execution-types.ts'

/**
 * The embedding of a text on a tenant's account, for the semantic cache: a run like any other, with its quotas, budget
 * and failover.
 * @param execution asked for at each call, because the cache that embeds is a part of it
 * @throws AppError when no deployment can embed it now
 */
export function createEmbedText(options: { execution: () => Execution; model: string }) {
  return async (text: string, tenant: string, signal: AbortSignal): Promise<readonly number[]> => {
    const body = { model: options.model, input: text }
    const input = { requestId: 'cache', tenant, url: '/v1/embeddings' as const, body }
    const outcome = await options.execution().run(input, signal)
    const answer = outcome.kind === 'done' ? outcome.response?.body : undefined
    const embedding = (answer as { data?: { embedding?: unknown }[] } | undefined)?.data?.[0]?.embedding
    if (!Array.isArray(embedding)) throw new AppError('no_capacity', `${options.model} cannot embed now.`)
    return embedding as number[]
  }
}
