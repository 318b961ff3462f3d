import {
  type Deployment,
  type DeploymentUrl,
  type PlatformConfig,
  type Priority,
  type RequestBody,
  type SluiceOptions,
  type Thresholds,
  type TierName,
  tierNames,
} from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { scoreShape } from './complexity/score-complexity.ts'
import { withinCost } from './cost-limit.ts'
import { namedDeployments } from './named-deployments.ts'
import { type Balance, inOrder } from './order.ts'
import { needsOf } from './prompt-needs.ts'
import { type PromptShape, readShape } from './prompt-shape.ts'

/** Where a request may run, and why. */
export interface Route {
  /** Null when the caller named what to use, so that nothing was scored. */
  score: number | null
  readonly why: string
  /** Tier and model of the first candidate. */
  tier: TierName | null
  model: string
  /** Deployments in the order in which they are tried; never empty. The request waits when all of them are full. */
  candidates: readonly Deployment[]
  /**
   * For when every candidate fails, in order: pay-as-you-go of the same tier that this priority may not spill to, then
   * other tiers, nearest first. Being full is not a failure.
   */
  fallbacks: readonly Deployment[]
  /** Whether this priority may leave full provisioned capacity for pay-as-you-go. */
  maySpill: boolean
  /** Output tokens that `max_cost_usd` pays for on a deployment; absent where it pays for all that may come. */
  outputCaps: ReadonlyMap<string, number>
}

export interface RouteRequest {
  url: DeploymentUrl
  body: RequestBody
  options?: SluiceOptions | undefined
  config: RoutingConfig
  /** Whose thresholds count, when it has its own. */
  tenant?: string | undefined
  /** The priority of a request whose options name none. */
  priority?: Priority | undefined
  balance?: Balance | undefined
}

/** The part of the configuration that routing reads. */
export type RoutingConfig = Pick<PlatformConfig, 'routing' | 'deployments'> & Partial<Pick<PlatformConfig, 'tenants'>>

/**
 * Chooses tier and deployments for a request. `body.model` is `auto`, a tier, an alias, a model or a deployment's name.
 * @throws AppError `model_not_found` for an unknown model; `no_route` when nothing satisfies the hints, `param` naming
 * the hint or the field that left nothing; `cost_limit` when nothing fits `max_cost_usd`
 */
export function decide({ url, body, options = {}, config, tenant, priority, balance }: RouteRequest): Route {
  const shape = readShape(body, url)
  const wanted = body.model
  const tiers = allowedTiers(options.tier)
  const allowed = narrow(namedDeployments(wanted, config).deployments, { url, body, shape, options, tiers })
  const { deployments, outputCaps } = withinCost(allowed, shape, body, options.max_cost_usd)

  const { balancing, spill } = config.routing
  const ordered = (some: readonly Deployment[]) => inOrder(some, balancing, options.region?.prefer, balance)
  const maySpill = spill.includes(options.priority ?? priority ?? 'standard')
  const plan = (groups: readonly (readonly Deployment[])[], score: number | null, reason: { why: string }): Route => {
    const { now, onFailure } = withSpill(ordered(groups[0] ?? []), maySpill)
    const head = now[0]
    if (head === undefined) throw new AppError('no_route', 'No deployment fits.', { param: 'body.model' })
    const fallbacks = [...onFailure]
    for (let at = 1; at < groups.length; at++) fallbacks.push(...ordered(groups[at] ?? []))
    return {
      score,
      get why() {
        return reason.why
      },
      tier: head.tier ?? null,
      model: head.model,
      candidates: now,
      fallbacks,
      maySpill,
      outputCaps,
    }
  }

  if (wanted !== 'auto') return plan([roomy(deployments, shape)], null, { why: `${wanted} as asked` })
  const hasTier = (d: Deployment): boolean => d.tier !== undefined
  const tiered = deployments.every(hasTier) ? deployments : deployments.filter(hasTier)
  // An endpoint without tiers (embeddings) has nothing to choose by complexity.
  if (tiered.length === 0) return plan([deployments], null, { why: `the deployments that serve ${url}` })

  const complexity = scoreShape(shape)
  const { score } = complexity
  const scored = tierOf(score, thresholdsOf(config, tenant))
  const fitting = roomy(tiered, shape)
  const groups: (readonly Deployment[])[] = []
  for (const tier of nearestFirst[scored]) {
    const group = tiers.includes(tier) ? fitting.filter((d) => d.tier === tier) : []
    if (group.length > 0) groups.push(group)
  }
  const tier = groups[0]?.[0]?.tier
  if (tier === scored) return plan(groups, score, complexity)
  return plan(groups, score, {
    get why() {
      return `${complexity.why}; ${scored} is not available here, ${tier} is`
    },
  })
}

interface Narrowing {
  url: DeploymentUrl
  body: RequestBody
  shape: PromptShape
  options: SluiceOptions
  tiers: readonly TierName[]
}

/** Leaves out what the request cannot or may not use; the first condition that leaves nothing is the one named. */
function narrow(named: readonly Deployment[], { url, body, shape, options, tiers }: Narrowing): readonly Deployment[] {
  const wanted = body.model
  const only = options.region?.only
  let left = keep(
    named,
    (d) => d.urls.includes(url),
    () => ['body.model', `${wanted} does not serve ${url}`],
  )
  if (only !== undefined) {
    left = keep(
      left,
      (d) => only.includes(d.region),
      () => ['sluice.region.only', `${wanted} has no deployment in ${only.join(', ')}`],
    )
  }
  if (tiers !== tierNames) {
    left = keep(
      left,
      (d) => d.tier === undefined || tiers.includes(d.tier),
      () => ['sluice.tier', `${wanted} has no deployment between the tiers asked for`],
    )
  }
  for (const { capability, param } of needsOf(shape, body, url)) {
    left = keep(
      left,
      (d) => d.capabilities.includes(capability),
      () => [param, `no deployment that ${wanted} may use has ${capability}`],
    )
  }
  return left
}

/** A priority that may not spill waits for provisioned capacity where there is some; only its failure leads elsewhere. */
export function withSpill(deployments: readonly Deployment[], maySpill: boolean) {
  if (maySpill || deployments.every(({ kind }) => kind !== 'ptu')) return { now: deployments, onFailure: [] }
  const provisioned = deployments.filter(({ kind }) => kind === 'ptu')
  return { now: provisioned, onFailure: deployments.filter(({ kind }) => kind !== 'ptu') }
}

/** The thresholds that count for a tenant. */
const thresholdsOf = ({ routing, tenants = {} }: RoutingConfig, tenant = ''): Thresholds =>
  (Object.hasOwn(tenants, tenant) ? tenants[tenant]?.thresholds : undefined) ?? routing.thresholds

const tierOf = (score: number, { medium, large }: Thresholds): TierName =>
  score >= large ? 'large' : score >= medium ? 'medium' : 'small'

/** @param complaint the field or hint that left nothing, and what to say about it */
function keep(
  deployments: readonly Deployment[],
  fits: (deployment: Deployment) => boolean,
  complaint: () => readonly [param: string, text: string],
): readonly Deployment[] {
  const kept = deployments.every(fits) ? deployments : deployments.filter(fits)
  if (kept.length > 0) return kept
  const [param, text] = complaint()
  throw new AppError('no_route', `${text}.`, { param })
}

function allowedTiers(hint: SluiceOptions['tier']): readonly TierName[] {
  if (hint === undefined) return tierNames
  const from = hint.min === undefined ? 0 : tierNames.indexOf(hint.min)
  const to = hint.max === undefined ? tierNames.length - 1 : tierNames.indexOf(hint.max)
  if (from > to) {
    throw new AppError('no_route', `sluice.tier: min ${hint.min} is above max ${hint.max}.`, { param: 'sluice.tier' })
  }
  return tierNames.slice(from, to + 1)
}

const nearestTo = (tier: TierName): readonly TierName[] => {
  const at = tierNames.indexOf(tier)
  return [...tierNames.slice(at), ...tierNames.slice(0, at).toReversed()]
}
/** Each tier, the ones above it from below, then the ones below it from above: quality is the last thing to give up. */
const nearestFirst = { small: nearestTo('small'), medium: nearestTo('medium'), large: nearestTo('large') }

/**
 * The deployments whose context surely holds the prompt; when that leaves none, the largest ones, because four
 * characters a token is a guess and the provider knows better.
 */
function roomy(deployments: readonly Deployment[], shape: PromptShape): readonly Deployment[] {
  const tokens = Math.ceil(shape.chars / 4) + (shape.maxOutputTokens ?? 0)
  const fits = (d: Deployment): boolean => d.context_tokens >= tokens
  if (deployments.every(fits)) return deployments
  const fitting = deployments.filter(fits)
  if (fitting.length > 0) return fitting
  const largest = Math.max(...deployments.map((d) => d.context_tokens))
  return deployments.filter((d) => d.context_tokens === largest)
}
