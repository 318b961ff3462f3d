import type { Deployment, DeploymentUrl, RequestBody } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { type Clock, withDeadline } from '@sluice/resilience'
import type { Route } from '@sluice/routing'
import type { AffinityRedis } from './region-affinity.ts'

/**
 * Where stored responses lie. A response is known to the resource that made it and to nobody else, so a request that
 * goes on from one (`previous_response_id`), or asks for it by its id, goes there. Queued and synchronous requests share
 * this.
 */
export interface ResponsePins {
  /**
   * The part of a route that knows the response, which is kept for another day. A response that nobody remembers
   * changes nothing: whoever is asked says for itself whether it knows it.
   * @throws AppError `not_found` for another tenant's response, `no_route` where the route does not lead to it
   */
  follow(tenant: string, body: RequestBody, route: Route): Promise<Route>
  /**
   * The deployment that made a response of this tenant.
   * @throws AppError `not_found` for one that nobody remembers, and for another tenant's; `model_unavailable` while Redis
   * does not say whose it is
   */
  find(tenant: string, id: string): Promise<Deployment>
  /** Remembers who made a response. Never throws, never waits. */
  made(tenant: string, id: string, deployment: string): void
}

const keptSeconds = 24 * 3600
// While Redis does not answer, the provider's own word has to do.
const lookupMs = 250
const param = 'body.previous_response_id'

/** Whether a request goes on from a stored response. */
export const goesOn = (url: DeploymentUrl, { previous_response_id: id }: RequestBody): boolean =>
  url === '/v1/responses' && typeof id === 'string' && id !== ''

export function createResponsePins(options: {
  redis: AffinityRedis
  deployments: readonly Deployment[]
  clock: Clock
}): ResponsePins {
  const { redis, clock } = options
  const deployments = new Map(options.deployments.map((one) => [one.name, one]))
  // The tenant is in the value and not in the key: it shows whose response it is.
  const keyOf = (id: string) => `sluice:response:${id}`

  /** @throws Error when Redis does not answer */
  const pinOf = async (id: string): Promise<{ tenant: string; deployment: string } | undefined> => {
    // Longer ones were never made by a provider.
    if (id.length > 256) return undefined
    const look = () => redis.getex(keyOf(id), 'EX', keptSeconds)
    const value = await withDeadline(lookupMs, undefined, look, () => new Error('late'), clock)
    const [tenant, deployment] = value?.split('|', 2) ?? []
    return tenant === undefined || deployment === undefined ? undefined : { tenant, deployment }
  }

  return {
    async follow(tenant, { previous_response_id: previous }, route) {
      const id = String(previous)
      const pin = await pinOf(id).catch(() => undefined)
      if (pin === undefined) return route
      if (pin.tenant !== tenant) {
        throw new AppError('not_found', `Previous response with id ${JSON.stringify(id)} not found.`, { param })
      }
      const endpoint = deployments.get(pin.deployment)?.endpoint
      // It is not configured any more, and so are its responses.
      if (endpoint === undefined) return route
      const known = [...route.candidates, ...route.fallbacks].filter((one) => one.endpoint === endpoint)
      const [first] = known.toSorted((a, b) => Number(b.name === pin.deployment) - Number(a.name === pin.deployment))
      if (first === undefined) {
        const message = `previous_response_id: it was made by ${pin.deployment}, which this request may not use`
        throw new AppError('no_route', message, { param })
      }
      const why = `${route.why}; ${pin.deployment} made the response that it goes on from`
      const candidates = [first, ...known.filter((one) => one !== first)]
      return { ...route, why, tier: first.tier ?? null, model: first.model, candidates, fallbacks: [] }
    },
    async find(tenant, id) {
      const pin = await pinOf(id).catch((cause: unknown) => {
        const message = 'Nobody can say now where this response lies.'
        throw new AppError('model_unavailable', message, { status: 503, retryAfterMs: 1_000, cause })
      })
      const deployment = pin?.tenant === tenant ? deployments.get(pin.deployment) : undefined
      if (deployment !== undefined) return deployment
      throw new AppError('not_found', `Response with id ${JSON.stringify(id)} not found.`)
    },
    made(tenant, id, deployment) {
      redis.set(keyOf(id), `${tenant}|${deployment}`, 'EX', keptSeconds).catch(() => undefined)
    },
  }
}
