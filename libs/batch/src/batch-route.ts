import { estimateTokens } from '@sluice/admission'
import type { Deployment, LineUrl, PlatformConfig, RequestBody, SluiceOptions } from '@sluice/contracts'
import { decide } from '@sluice/routing'

export interface BatchRoute {
  /** Deployments of one model that take batches and may answer the line; none: it can only run online. */
  deployments: readonly Deployment[]
  /** Deployments of any tier that may answer it, for a batch that is bound to one of them. */
  acceptable: readonly Deployment[]
  /** What the line counts against a deployment's enqueued tokens: its input. */
  tokens: number
}

interface Line {
  url: LineUrl
  body: RequestBody
  options: SluiceOptions
}

/** Resolves a line's model, `auto` included. @throws AppError as routing's `decide` does */
export function batchRoute(platform: PlatformConfig, { url, body, options }: Line): BatchRoute {
  const route = decide({ url, body, options, config: platform })
  const takesBatches = ({ batch }: Deployment) => batch !== undefined
  const acceptable = [...route.candidates, ...route.fallbacks].filter(takesBatches)
  const own = route.candidates.filter(takesBatches)
  // Of one model only: regions that answer with different ones would not be one batch.
  const model = own[0]?.model
  const { max_tokens: _, max_completion_tokens: _max, max_output_tokens: _output, ...input } = body
  return {
    deployments: own.filter((deployment) => deployment.model === model),
    acceptable,
    tokens: estimateTokens(input, url),
  }
}
