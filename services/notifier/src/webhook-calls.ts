import type { PlatformConfig } from '@sluice/contracts'
import { toAppError } from '@sluice/errors'
import type { DeliveryTarget, EndpointRow, Endpoints } from '@sluice/ledger'
import type { EndpointDirectory } from './endpoint-directory.ts'

/** Everything that an attempt needs to know about its receiver. */
export interface WebhookCall {
  url: string
  /** The newest first; each signs. */
  secrets: string[]
  /** Calls of one lane are bounded together. */
  lane: string
  concurrency: number
  endpoint: EndpointRow | undefined
}

/** A target that gets nothing, and why. */
export interface NoCall {
  reason: string
}

/** How many calls one inline url may have in flight from this notifier. */
const inlineConcurrency = 32

/** Finds out how a webhook target is called now: a registered endpoint may have changed since the delivery was opened. */
export function webhookCalls(deps: {
  config: PlatformConfig
  directory: EndpointDirectory
  endpoints: Pick<Endpoints, 'secretsOf'>
}): (tenant: string, target: DeliveryTarget) => Promise<WebhookCall | NoCall> {
  // Targets that messages carry are the same objects again and again, but not one tenant's alone.
  const inline = new WeakMap<DeliveryTarget, { tenant: string; call: WebhookCall }>()
  return async (tenant, target) => {
    if (target.type !== 'webhook') return { reason: 'not a webhook' }
    if ('endpoint' in target) {
      const endpoint = await deps.directory.find(tenant, target.endpoint)
      if (endpoint === undefined) return { reason: 'endpoint_deleted' }
      if (endpoint.disabled !== null) return { reason: `endpoint_disabled: ${endpoint.disabled.reason}` }
      const secrets = secretsOf(deps.endpoints, endpoint)
      if ('reason' in secrets) return secrets
      const { url, concurrency, id } = endpoint
      return { url, secrets, lane: id, concurrency, endpoint }
    }
    const known = inline.get(target)
    if (known?.tenant === tenant) return known.call
    const { origin, pathname } = new URL(target.url)
    const call = {
      url: target.url,
      secrets: deps.config.tenants[tenant]?.webhooks.secrets ?? [],
      // Without the query, in which callers put ids of their own.
      lane: `${tenant} ${origin}${pathname}`,
      concurrency: inlineConcurrency,
      endpoint: undefined,
    }
    inline.set(target, { tenant, call })
    return call
  }
}

// A key that is missing here is this installation's fault and not the event's: the delivery fails, and can be replayed.
function secretsOf(endpoints: Pick<Endpoints, 'secretsOf'>, endpoint: EndpointRow): string[] | NoCall {
  try {
    return endpoints.secretsOf(endpoint)
  } catch (error) {
    return { reason: toAppError(error).message }
  }
}

/** The key under which an endpoint wants its events one after another; undefined when it does not. */
export function fifoKeyOf(endpoint: EndpointRow, conversation: string | undefined): string | undefined {
  if (endpoint.fifo === 'endpoint') return endpoint.id
  return endpoint.fifo === 'conversation' && conversation !== undefined ? `${endpoint.id} ${conversation}` : undefined
}
