import type { Deliveries } from '@sluice/ledger'
import type { ServiceBus } from '@sluice/messaging'
import { type Clock, type Timer, withDeadline } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import type { DeliveryMetrics } from './delivery-metrics.ts'

const intervalMs = 15_000
const lookMs = 5_000

/** Keeps the gauges that say how far behind the sinks are. */
export function watchBacklog(deps: {
  serviceBus: ServiceBus
  topic: string
  subscriptions: readonly string[]
  deliveries: Pick<Deliveries, 'backlog'>
  metrics: Pick<DeliveryMetrics, 'pending' | 'oldest'>
  clock: Clock
  logger: Logger
}): { stop(): Promise<void>; lookOnce(): Promise<void> } {
  const { serviceBus, topic, subscriptions, deliveries, metrics, clock, logger } = deps
  let stopped = false
  let timer: Timer | undefined
  let looking: Promise<void> = Promise.resolve()

  const subscription = async (name: string): Promise<void> => {
    // A receiver of its own for every look: one goes on where it last peeked, and the oldest is wanted.
    const receiver = serviceBus.client.createReceiver(topic, name)
    try {
      const [oldest] = await receiver.peekMessages(1)
      const enqueuedAt = oldest?.enqueuedTimeUtc?.getTime()
      metrics.oldest.set({ sink: name }, enqueuedAt === undefined ? 0 : ageSeconds(clock, enqueuedAt))
    } finally {
      await receiver.close()
    }
  }
  const webhooks = async (): Promise<void> => {
    const { pending, oldestDue } = await deliveries.backlog()
    metrics.pending.set(pending)
    metrics.oldest.set(
      { sink: 'webhook-attempts' },
      oldestDue === undefined ? 0 : ageSeconds(clock, Date.parse(oldestDue)),
    )
  }
  const lookOnce = async (): Promise<void> => {
    const late = () => new Error('no answer in time')
    for (const look of [webhooks, ...subscriptions.map((name) => () => subscription(name))]) {
      if (stopped) return
      await withDeadline(lookMs, undefined, look, late).catch((err: unknown) =>
        logger.warn({ err }, 'a backlog could not be looked at'),
      )
    }
  }
  const schedule = () => {
    timer = clock.setTimeout(() => {
      looking = lookOnce().finally(() => (stopped ? undefined : schedule()))
    }, intervalMs)
  }
  schedule()
  return {
    lookOnce,
    async stop() {
      stopped = true
      timer?.cancel()
      await looking
    },
  }
}

const ageSeconds = (clock: Clock, sinceMs: number): number => Math.max(0, (clock.now() - sinceMs) / 1000)
