import type { ServiceBusReceivedMessage } from '@azure/service-bus'
import type { PlatformConfig } from '@sluice/contracts'
import { AppError, isErrorCode } from '@sluice/errors'
import type { ClaimInput, Ledger, Outbox } from '@sluice/ledger'
import { type Delivery, type ServiceBus, toDelivery } from '@sluice/messaging'
import type { Clock } from '@sluice/resilience'
import type { Logger, Metrics } from '@sluice/telemetry'
import Long from 'long'
import { type LaneContext, readArrival } from './read-arrival.ts'

const pageSize = 100
/** Dead letters looked at in one round and lane; more than that is an incident that the metric shows. */
const maxPerRound = 2000

interface DeadLetterDeps {
  serviceBus: ServiceBus
  platform: PlatformConfig
  ledger: Ledger
  outbox: Outbox
  clock: Clock
  logger: Logger
  metrics: Metrics
  intervalMs: number
}

/**
 * Answers the dead letters of the lanes: what the broker itself gave up on (delivered too often) gets a stored
 * `failed` and an event. Dead letters are only peeked at, so they stay for the operator, with their reason, until
 * somebody purges them; the ledger's first terminal patch makes looking at them again harmless.
 */
export function watchDeadLetters(deps: DeadLetterDeps): {
  start(): void
  stop(): Promise<void>
  look(): Promise<void>
} {
  const lanes = Object.entries(deps.platform.lanes).map(([name, lane]): LaneContext & { answered: Set<string> } => ({
    name,
    lane,
    config: deps.platform,
    answered: new Set(),
  }))
  const waiting = deps.metrics.gauge({
    name: 'sluice_dead_letters',
    help: 'Messages in the dead-letter queue of a lane',
    labels: ['lane'],
  })
  const stopping = new AbortController()
  let timer: { cancel(): void } | undefined
  let round: Promise<unknown> = Promise.resolve()

  async function lookAt(context: (typeof lanes)[number]): Promise<void> {
    const receiver = deps.serviceBus.client.createReceiver(context.name, {
      subQueueType: 'deadLetter',
      skipParsingBodyAsJson: true,
    })
    const seen = new Set<string>()
    try {
      // Said explicitly: the SDK would go on where the last peek of the same entity ended, on any receiver.
      let from: Long | undefined = Long.ONE
      while (from !== undefined && seen.size < maxPerRound && !stopping.signal.aborted) {
        const page: ServiceBusReceivedMessage[] = await receiver.peekMessages(pageSize, { fromSequenceNumber: from })
        for (const message of page) {
          const delivery = toDelivery(message)
          seen.add(delivery.sequenceNumber)
          if (context.answered.has(delivery.sequenceNumber)) continue
          // What a worker rejected was answered by that worker.
          if (!isErrorCode(message.deadLetterReason ?? '')) {
            await answer(deps, delivery, context, message.deadLetterReason ?? 'no reason given')
          }
          context.answered.add(delivery.sequenceNumber)
        }
        const last: Long | undefined = page.at(-1)?.sequenceNumber
        from = last === undefined || page.length < pageSize ? undefined : last.add(1)
      }
    } finally {
      await receiver.close()
    }
    waiting.set({ lane: context.name }, seen.size)
    // Purged ones are forgotten, so the set is bounded by what lies there.
    context.answered = new Set([...context.answered].filter((number) => seen.has(number)))
  }

  const look = async () => {
    for (const lane of lanes) {
      if (stopping.signal.aborted) return
      await lookAt(lane).catch((err: unknown) =>
        deps.logger.warn({ err, lane: lane.name }, 'dead letters could not be read'),
      )
    }
  }
  const schedule = () => {
    timer = deps.clock.setTimeout(() => {
      round = look().then(() => (stopping.signal.aborted ? undefined : schedule()))
    }, deps.intervalMs)
  }
  return {
    start: schedule,
    look,
    async stop() {
      stopping.abort()
      timer?.cancel()
      await round
    },
  }
}

/** Stores and publishes `failed` for a line that the broker gave up on; where no line can be read nothing is owed. */
async function answer(
  { ledger, outbox, logger }: DeadLetterDeps,
  delivery: Delivery,
  context: LaneContext,
  reason: string,
): Promise<void> {
  let arrival: ClaimInput
  try {
    arrival = readArrival(delivery, context)
  } catch {
    return
  }
  const error = new AppError('poison', `The broker dead-lettered the message: ${reason}`)
  try {
    const row = await ledger.reject({ ...arrival, content: arrival.line, error })
    if (row.result !== undefined) await outbox.publish(row)
    logger.warn({ requestId: row.id, tenant: row.tenant, reason }, 'a dead letter was answered')
  } catch (thrown) {
    if (thrown instanceof AppError && thrown.code === 'idempotency_conflict') return
    throw thrown
  }
}
