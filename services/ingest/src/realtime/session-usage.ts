import { type Deployment, emptyUsage, type Usage } from '@sluice/contracts'
import { costUsd } from '@sluice/models'
import type { Frame } from './relay.ts'

const marker = Buffer.from('response.done')

/**
 * What an event of the upstream says was used; undefined for all but `response.done`. Audio deltas are most of a
 * session's bytes, so that only what holds the event's name is parsed.
 */
export function usageIn({ data, isBinary }: Frame): Usage | undefined {
  if (isBinary || !data.includes(marker)) return undefined
  try {
    const event = JSON.parse(data.toString('utf8')) as { type?: unknown; response?: { usage?: unknown } | null }
    if (event.type !== 'response.done') return undefined
    const usage = objectOf(event.response?.usage)
    const input = objectOf(usage.input_token_details)
    return {
      ...emptyUsage,
      input_tokens: countOf(usage.input_tokens),
      cached_tokens: countOf(input.cached_tokens),
      output_tokens: countOf(usage.output_tokens),
    }
  } catch {
    return undefined
  }
}

/** @returns US dollars */
export const sessionCostUsd = (deployment: Deployment, usage: Usage): number => costUsd(deployment.price, usage)

const objectOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
const countOf = (value: unknown): number =>
  typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.floor(value) : 0
