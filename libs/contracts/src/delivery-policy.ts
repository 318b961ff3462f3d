import { AppError } from '@sluice/errors'
import type { PlatformConfig } from './platform-config.ts'
import type { DeliverTarget } from './request-line.ts'

/**
 * Whether the tenant may ask for these targets: a webhook needs a signing secret, https unless the host is on the
 * tenant's allow-list; a reply queue must be on its list. Addresses are checked again when they are connected to.
 * @throws AppError `invalid_line` that names the target.
 */
export function checkDeliverTargets(
  config: PlatformConfig,
  tenant: string,
  targets: readonly DeliverTarget[] = [],
): void {
  for (const [index, target] of targets.entries()) {
    const problem = problemOf(config, tenant, target)
    if (problem === undefined) continue
    const param = `sluice.deliver[${index}].${problem.field}`
    throw new AppError('invalid_line', `${param}: ${problem.text}`, { param })
  }
}

function problemOf(
  config: PlatformConfig,
  tenant: string,
  target: DeliverTarget,
): { field: string; text: string } | undefined {
  const settings = config.tenants[tenant]
  switch (target.type) {
    case 'webhook': {
      if (!settings?.webhooks.secrets.length)
        return { field: 'type', text: 'this tenant has no webhook signing secret' }
      const text = webhookUrlProblem(config, tenant, target.url)
      return text === undefined ? undefined : { field: 'url', text }
    }
    case 'service-bus':
      if (settings?.reply_queues.includes(target.queue)) return undefined
      return { field: 'queue', text: 'is not on the list of reply queues of this tenant' }
    case 'signalr':
    case 'event-hubs':
      return undefined
  }
}

/** What is wrong with a url that the tenant wants called; undefined when nothing is. */
export function webhookUrlProblem(config: PlatformConfig, tenant: string, text: string): string | undefined {
  const url = new URL(text)
  if (url.username !== '' || url.password !== '') return 'must not carry credentials'
  const allowed = config.tenants[tenant]?.webhooks.allow_hosts.includes(url.hostname) === true
  return url.protocol === 'https:' || allowed ? undefined : 'must be https'
}
