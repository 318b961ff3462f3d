import { type Deployment, type PlatformConfig, type TierName, tierNames } from '@sluice/contracts'
import { AppError } from '@sluice/errors'

/** What a request's `model` means: every deployment for `auto`, a part of them for a name. */
export interface Named {
  deployments: readonly Deployment[]
  kind: 'auto' | 'tier' | 'alias' | 'model' | 'deployment'
}

/**
 * Resolves `body.model`: `auto`, a tier, an alias, a model or a deployment, in this order; a name that is several of
 * them means the first. An alias stands for models and deployments; a list of them is a pool.
 * @throws AppError `no_route` for a tier without deployments, `model_not_found` for an unknown name
 */
export function namedDeployments(wanted: string, config: Pick<PlatformConfig, 'routing' | 'deployments'>): Named {
  const { deployments, routing } = config
  if (wanted === 'auto') return { deployments, kind: 'auto' }
  const kinds = [
    ['tier', (d: Deployment) => d.tier === wanted],
    ['alias', inPool(Object.hasOwn(routing.aliases, wanted) ? routing.aliases[wanted] : undefined)],
    ['model', (d: Deployment) => d.model === wanted],
    ['deployment', (d: Deployment) => d.name === wanted],
  ] as const
  for (const [kind, matches] of kinds) {
    const found = deployments.filter(matches)
    if (found.length > 0) return { deployments: found, kind }
  }
  if (tierNames.includes(wanted as TierName)) {
    throw new AppError('no_route', `There is no deployment of tier ${wanted}.`, { param: 'body.model' })
  }
  throw new AppError(
    'model_not_found',
    `There is no model, tier, alias or deployment named ${JSON.stringify(wanted)}.`,
    { param: 'body.model' },
  )
}

const inPool = (targets: string | readonly string[] = []) => {
  const names = new Set([targets].flat())
  return ({ model, name }: Deployment): boolean => names.has(model) || names.has(name)
}
