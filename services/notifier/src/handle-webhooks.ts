import type { Deliveries, Delivered, DeliveryRow } from '@sluice/ledger'
import { complete, type Delivery, type Settlement } from '@sluice/messaging'
import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import type { Attempted, AttemptWebhook } from './attempt-webhook.ts'
import type { EndpointDirectory } from './endpoint-directory.ts'
import type { InFlight } from './in-flight.ts'
import { type FindTargets, type Incoming, readEvent } from './read-event.ts'
import { fifoKeyOf, type NoCall, type WebhookCall } from './webhook-calls.ts'
import type { Permit, WebhookLanes } from './webhook-lanes.ts'
import type { WebhookTimer } from './webhook-timer.ts'

export interface HandleWebhooksDeps {
  deliveries: Deliveries
  directory: EndpointDirectory
  callOf: (tenant: string, target: DeliveryRow['target']) => Promise<WebhookCall | NoCall>
  lanes: WebhookLanes
  attempt: AttemptWebhook
  timer: WebhookTimer
  /** Attempts that outlive their message. */
  inFlight: InFlight
  findTargets: FindTargets
  /** How long a message is held for its first attempts. */
  holdMs: number
  timeoutMs: number
  clock: Clock
  logger: Logger
}

/**
 * Subscription `webhooks`. Every target gets a row before the message is completed; the first attempt may be made before
 * that, so that what succeeds at once costs one write and no timer:
 *
 * - the receiver answers within `holdMs`: the row is written with the attempt in it;
 * - it takes longer: the row is written as pending, due after the attempt's own deadline, and the attempt goes on;
 * - it is slow, busy or ordered: the row is written as pending and a timer set.
 *
 * A crash before the row leaves the message, which comes again; a crash after it leaves a row that falls overdue.
 */
export const handleWebhooks =
  (deps: HandleWebhooksDeps) =>
  async (delivery: Delivery): Promise<Settlement> => {
    const incoming = await readEvent(delivery, deps.findTargets)
    const targets = await targetsOf(deps, incoming)
    await Promise.all(targets.map((delivered) => begin(deps, delivered, incoming.bytes, delivery.deliveryCount > 0)))
    return complete()
  }

/** The webhooks asked for by name, and the tenant's endpoints that take this type of event. */
async function targetsOf({ directory }: HandleWebhooksDeps, incoming: Incoming): Promise<Delivered[]> {
  const { event, json, tenant, subject, conversation, targets, replay } = incoming
  if (replay) return []
  const common = { tenant, requestId: subject, event, eventJson: json }
  const endpoints = await directory.matching(tenant, event.type)
  return [
    ...targets.filter(({ type }) => type === 'webhook').map((target) => ({ ...common, target })),
    ...endpoints.map((endpoint) => ({
      ...common,
      target: { type: 'webhook' as const, endpoint: endpoint.id },
      fifoKey: fifoKeyOf(endpoint, conversation),
    })),
  ]
}

async function begin(
  deps: HandleWebhooksDeps,
  delivered: Delivered,
  bytes: Buffer,
  redelivered: boolean,
): Promise<void> {
  const { deliveries, clock } = deps
  if (redelivered) {
    const row = await deliveries.find(delivered)
    if (row !== undefined) return row.status === 'pending' ? setTimer(deps, row) : undefined
  }
  const call = await deps.callOf(delivered.tenant, delivered.target)
  if ('reason' in call) {
    // Kept as failed, so that it can be replayed once the endpoint is enabled again.
    await deliveries.conclude(delivered, undefined, { kind: 'failed', reason: call.reason })
    return
  }
  const ordered = delivered.fifoKey !== undefined
  const permit = ordered ? { laterMs: 0 } : await deps.lanes.enter(call.lane, call.concurrency, deps.holdMs)
  if ('leave' in permit) return first(deps, delivered, bytes, call, permit)
  setTimer(deps, await deliveries.open(delivered, clock.now() + permit.laterMs))
}

async function first(
  deps: HandleWebhooksDeps,
  delivered: Delivered,
  bytes: Buffer,
  call: WebhookCall,
  permit: Permit,
): Promise<void> {
  const { deliveries, clock } = deps
  const attempted = permitted(deps.attempt({ ...delivered, bytes }, call, 1), permit)
  const early = await within(attempted, deps.holdMs, clock)
  if (early !== 'late') {
    if (early === undefined) return void (await deliveries.open(delivered, clock.now()))
    const row = await deliveries.conclude(delivered, early.attempt, early.next)
    return row?.status === 'pending' ? setTimer(deps, row) : undefined
  }
  const row = await deliveries.open(delivered, clock.now() + deps.timeoutMs)
  deps.inFlight.add(attempted.then((made) => note(deps, row, made)))
}

/** Records an attempt that outlived its message. */
async function note(deps: HandleWebhooksDeps, row: DeliveryRow, made: Attempted | undefined): Promise<void> {
  if (made === undefined) return void (await deps.deliveries.postpone(row, deps.clock.now()))
  const recorded = await deps.deliveries.record(row, made.attempt, made.next)
  if (recorded?.status === 'pending') setTimer(deps, recorded)
}

/** A timer that Redis does not take is set by the sweeper, once the row is overdue. */
function setTimer({ timer, clock, logger, inFlight }: HandleWebhooksDeps, row: DeliveryRow): void {
  const dueMs = row.next_attempt_at === undefined ? 0 : Date.parse(row.next_attempt_at) - clock.now()
  const set = async () => {
    try {
      await timer.set(row, dueMs)
    } catch (err) {
      logger.warn({ err, event: row.eventId, tenant: row.tenant }, 'a webhook is stored and has no timer yet')
    }
  }
  // Not awaited: the row is stored, and a Redis that is slow must not hold messages.
  inFlight.add(set())
}

async function permitted<T>(attempt: Promise<T>, permit: Permit): Promise<T> {
  try {
    return await attempt
  } finally {
    permit.leave()
  }
}

function within<T>(promise: Promise<T>, ms: number, clock: Clock): Promise<T | 'late'> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => resolve('late'), ms)
    promise.then(
      (value) => {
        timer.cancel()
        resolve(value)
      },
      (error: Error) => {
        timer.cancel()
        reject(error)
      },
    )
  })
}
