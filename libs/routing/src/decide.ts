import {
  type Deployment,
  type LineUrl,
  type PlatformConfig,
  type RequestBody,
  type SluiceOptions,
  type TierName,
  tierNames,
} from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { scoreShape } from './complexity/score-complexity.ts'
import { inOrder } from './order.ts'
import { type PromptShape, readShape } from './prompt-shape.ts'

/** Where a request may run, and why. */
export interface Route {
  /** Null when the caller named what to use, so that nothing was scored. */
  score: number | null
  why: string
  /** Tier and model of the first candidate. */
  tier: TierName | null
  model: string
  /** Deployments in the order in which they are tried; never empty. The request waits when all of them are full. */
  candidates: readonly Deployment[]
  /** Deployments of other tiers, nearest first, for when every candidate fails. Being full is not a failure. */
  fallbacks: readonly Deployment[]
}

export interface RouteRequest {
  url: LineUrl
  body: RequestBody
  options?: SluiceOptions | undefined
  config: RoutingConfig
}

/** The part of the configuration that routing reads. */
type RoutingConfig = Pick<PlatformConfig, 'routing' | 'deployments'>

/**
 * Chooses tier and deployments for a request. `body.model` is `auto`, a tier, a model or a deployment's name; a name
 * that is both a model and a deployment means the model.
 * @throws AppError `model_not_found` for an unknown model; `no_route` when nothing satisfies the hints, `param` naming
 * the hint that left nothing
 */
export function decide({ url, body, options = {}, config }: RouteRequest): Route {
  const shape = readShape(body, url)
  const wanted = body.model
  const named = namedBy(wanted, config.deployments)
  const serving = keep(named, (d) => d.urls.includes(url), 'body.model', `${wanted} does not serve ${url}`)
  const only = options.region?.only
  const regional = keep(
    serving,
    (d) => only === undefined || only.includes(d.region),
    'sluice.region.only',
    `${wanted} has no deployment in ${only?.join(', ')}`,
  )
  const tiers = allowedTiers(options.tier)
  const allowed = keep(
    regional,
    (d) => d.tier === undefined || tiers.includes(d.tier),
    'sluice.tier',
    `${wanted} has no deployment between the tiers asked for`,
  )
  const prefer = options.region?.prefer
  if (wanted !== 'auto') {
    return routeTo(inOrder(roomy(allowed, shape), prefer), [], null, `${wanted} as asked`)
  }
  const tiered = allowed.filter((d) => d.tier !== undefined)
  // An endpoint without tiers (embeddings) has nothing to choose by complexity.
  if (tiered.length === 0) return routeTo(inOrder(allowed, prefer), [], null, `the deployments that serve ${url}`)
  return byComplexity(tiered, tiers, shape, config, prefer)
}

function byComplexity(
  deployments: readonly Deployment[],
  tiers: readonly TierName[],
  shape: PromptShape,
  config: RoutingConfig,
  prefer: readonly string[] | undefined,
): Route {
  const { score, why } = scoreShape(shape)
  const { medium, large } = config.routing.thresholds
  const scored: TierName = score >= large ? 'large' : score >= medium ? 'medium' : 'small'
  const fitting = roomy(deployments, shape)
  const groups = nearestFirst(scored, tiers)
    .map((tier) =>
      inOrder(
        fitting.filter((d) => d.tier === tier),
        prefer,
      ),
    )
    .filter((group) => group.length > 0)
  const [candidates = [], ...others] = groups
  const tier = candidates[0]?.tier
  const moved = tier === scored ? '' : `; ${scored} is not available here, ${tier} is`
  return routeTo(candidates, others.flat(), score, `${why}${moved}`)
}

function routeTo(
  candidates: readonly Deployment[],
  fallbacks: readonly Deployment[],
  score: number | null,
  why: string,
): Route {
  const first = candidates[0]
  if (first === undefined) throw new AppError('no_route', 'No deployment fits.', { param: 'body.model' })
  return { score, why, tier: first.tier ?? null, model: first.model, candidates, fallbacks }
}

function namedBy(wanted: string, deployments: readonly Deployment[]): readonly Deployment[] {
  if (wanted === 'auto') return deployments
  const found = [
    deployments.filter((d) => d.tier === wanted),
    deployments.filter((d) => d.model === wanted),
    deployments.filter((d) => d.name === wanted),
  ].find((group) => group.length > 0)
  if (found) return found
  if ((tierNames as readonly string[]).includes(wanted)) {
    throw new AppError('no_route', `There is no deployment of tier ${wanted}.`, { param: 'body.model' })
  }
  throw new AppError('model_not_found', `There is no model, tier or deployment named ${JSON.stringify(wanted)}.`, {
    param: 'body.model',
  })
}

function keep(
  deployments: readonly Deployment[],
  fits: (deployment: Deployment) => boolean,
  param: string,
  complaint: string,
): readonly Deployment[] {
  const kept = deployments.filter(fits)
  if (kept.length === 0) throw new AppError('no_route', `${complaint}.`, { param })
  return kept
}

function allowedTiers(hint: SluiceOptions['tier']): readonly TierName[] {
  const from = hint?.min === undefined ? 0 : tierNames.indexOf(hint.min)
  const to = hint?.max === undefined ? tierNames.length - 1 : tierNames.indexOf(hint.max)
  if (from > to) {
    throw new AppError('no_route', `sluice.tier: min ${hint?.min} is above max ${hint?.max}.`, { param: 'sluice.tier' })
  }
  return tierNames.slice(from, to + 1)
}

/** The scored tier, the ones above it from below, then the ones below it from above: quality is the last thing to give up. */
function nearestFirst(scored: TierName, allowed: readonly TierName[]): readonly TierName[] {
  const at = tierNames.indexOf(scored)
  return [...tierNames.slice(at), ...tierNames.slice(0, at).toReversed()].filter((tier) => allowed.includes(tier))
}

/**
 * The deployments whose context surely holds the prompt; when that leaves none, the largest ones, because four
 * characters a token is a guess and the provider knows better.
 */
function roomy(deployments: readonly Deployment[], shape: PromptShape): readonly Deployment[] {
  const tokens = Math.ceil(shape.chars / 4) + (shape.maxOutputTokens ?? 0)
  const fitting = deployments.filter((d) => d.context_tokens >= tokens)
  if (fitting.length > 0) return fitting
  const largest = Math.max(...deployments.map((d) => d.context_tokens))
  return deployments.filter((d) => d.context_tokens === largest)
}
