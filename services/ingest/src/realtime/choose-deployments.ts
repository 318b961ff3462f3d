import { type Deployment, type PlatformConfig, tierNames } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { scoreComplexity } from '@sluice/routing'

/** What a client says of the session that it wants, before any deployment was chosen. */
export interface SessionWish {
  /** A model, alias, tier or deployment; absent or `auto`: chosen by what the session is for. */
  model?: string | undefined
  instructions?: string | undefined
  tools?: readonly unknown[] | undefined
}

const url = '/v1/realtime'

/**
 * The deployments that may hold a realtime session, the preferred ones first. Without a model the session's instructions
 * and tools are scored like a prompt: a demanding one gets the full model, every other one the mini.
 * @throws AppError `model_not_found`, or `no_route` when none serves realtime
 */
export function chooseDeployments(config: PlatformConfig, wish: SessionWish): readonly Deployment[] {
  const serving = config.deployments.filter(({ urls }) => urls.includes(url))
  const { model = 'auto' } = wish
  if (model === 'auto') {
    if (serving.length === 0) throw new AppError('no_route', 'No deployment serves realtime.', { param: 'model' })
    return byDemand(config, serving, wish)
  }
  const named = [config.routing.aliases[model] ?? model].flat()
  const found = serving.filter(
    ({ name, model: itself, tier }) => named.includes(name) || named.includes(itself) || tier === model,
  )
  if (found.length > 0) return found
  throw new AppError('model_not_found', `There is no realtime model named ${JSON.stringify(model.slice(0, 100))}.`, {
    param: 'model',
  })
}

function byDemand(config: PlatformConfig, serving: readonly Deployment[], wish: SessionWish): readonly Deployment[] {
  const { instructions = '', tools = [] } = wish
  const { score } = scoreComplexity(
    { model: 'auto', messages: [{ role: 'user', content: instructions }], tools: [...tools] },
    '/v1/chat/completions',
  )
  const rank = ({ tier }: Deployment) => (tier === undefined ? 0 : tierNames.indexOf(tier))
  const demanding = instructions !== '' && score >= config.routing.thresholds.large
  return serving.toSorted((a, b) => (demanding ? rank(b) - rank(a) : rank(a) - rank(b)))
}
