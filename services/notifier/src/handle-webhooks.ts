import type { DeliverTarget } from '@sluice/contracts'
import type { Deliveries } from '@sluice/ledger'
import { complete, type Delivery, type Settlement } from '@sluice/messaging'
import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import { readResult } from './read-result.ts'
import type { WebhookTimer } from './webhook-timer.ts'

type WebhookTarget = Extract<DeliverTarget, { type: 'webhook' }>

/**
 * Subscription `webhooks`: a row per target, then a timer per row, then the message is completed. The row is what
 * promises the delivery; a timer that Redis did not take, or lost, is set again by the sweeper.
 */
export const handleWebhooks =
  (deps: { deliveries: Deliveries; timer: WebhookTimer; clock: Clock; logger: Logger }) =>
  async (delivery: Delivery): Promise<Settlement> => {
    const { event, tenant, requestId, targets } = readResult(delivery)
    const webhooks = targets.filter((target): target is WebhookTarget => target.type === 'webhook')
    if (webhooks.length === 0) return complete()
    const rows = await deps.deliveries.open(
      webhooks.map((target) => ({ tenant, requestId, event, target, nextAttemptAtMs: deps.clock.now() })),
    )
    const pending = rows.filter((row) => row.status === 'pending')
    await Promise.all(
      pending.map(async (row) => {
        try {
          await deps.timer.set(row, 0)
        } catch (err) {
          deps.logger.warn({ err, requestId, tenant }, 'the webhook is stored; its timer will be set by the sweeper')
        }
      }),
    )
    return complete()
  }
