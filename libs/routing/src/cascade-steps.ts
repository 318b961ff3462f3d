import { type Deployment, type PlatformConfig, tierNames } from '@sluice/contracts'
import { type Route, withSpill } from './decide.ts'

export interface CascadeRequest {
  route: Route
  cascade: PlatformConfig['routing']['cascade']
  /** The tenant's own word, which counts before the platform's. */
  enabled?: boolean | undefined
  /** Time left until the deadline. */
  slackMs: number
}

/**
 * The tiers to ask one after the other while the answers are not trusted, cheapest first: from the one below the scored
 * tier (or the lowest itself) up to the highest that the request may use. Undefined when one call is to do: switched
 * off, a model that the caller named, a score outside the band, no time for a second call, or a single tier.
 */
export function cascadeSteps(request: CascadeRequest): readonly (readonly Deployment[])[] | undefined {
  const { route, cascade, enabled = cascade.enabled, slackMs } = request
  const { score, tier } = route
  if (!enabled || score === null || tier === null || slackMs < cascade.min_slack_ms) return undefined
  if (score < cascade.from_score || score > cascade.to_score) return undefined
  const all = [...route.candidates, ...route.fallbacks]
  const inTier = (name: string) => all.filter((deployment) => deployment.tier === name)
  const steps = tierNames
    .map((name) => ({ name, deployments: withSpill(inTier(name), route.maySpill).now }))
    .filter(({ deployments }) => deployments.length > 0)
  const scored = steps.findIndex(({ name }) => name === tier)
  const ladder = steps.slice(Math.max(0, scored - 1)).map(({ deployments }) => deployments)
  return ladder.length > 1 ? ladder : undefined
}
