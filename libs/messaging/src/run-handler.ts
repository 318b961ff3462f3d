import type { ServiceBusReceivedMessage } from '@azure/service-bus'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import type { Bag, Placed } from './bag.ts'
import { type Delivery, toDelivery } from './delivery.ts'
import type { HeldLock } from './held-lock.ts'
import type { createLoopMetrics } from './loop-metrics.ts'
import { type Settlement, settlementOf, type Untouched } from './settlement.ts'

export interface RunningHandler extends Placed {
  controller: AbortController
}

interface HandlerLimits {
  lock: HeldLock
  deadlineMs: number
  clock: Clock
  /** Holds the running handlers, for whoever ends them all. */
  running: Bag<RunningHandler>
}

interface Handling<S> {
  handle: (delivery: Delivery, signal: AbortSignal) => Promise<S>
  handlerDeadlineMs: number
  clock: Clock
  logger: Logger
  metrics: ReturnType<typeof createLoopMetrics>
}

/** @returns what a message's handler decided, or what follows from the error that it threw */
export async function handleMessage<S>(
  message: ServiceBusReceivedMessage,
  lock: HeldLock,
  running: Bag<RunningHandler>,
  { handle, handlerDeadlineMs: deadlineMs, clock, logger, metrics }: Handling<S>,
): Promise<S | Settlement | Untouched> {
  const delivery = toDelivery(message)
  const startMs = clock.monotonic()
  try {
    return await runHandler((signal) => handle(delivery, signal), { lock, deadlineMs, clock, running })
  } catch (err) {
    const settlement = settlementOf(err, delivery.deliveryCount)
    logger.warn({ err, messageId: delivery.messageId, settlement: settlement.kind }, 'the handler failed')
    return settlement
  } finally {
    metrics.handlerSeconds.observe((clock.monotonic() - startMs) / 1000)
  }
}

/**
 * Runs a handler under a signal that aborts with the reason of whichever comes first: its deadline
 * (`deadline_exceeded`), the loss of its lock (`lock_lost`), or whatever aborts all that are `running`. The handler is
 * awaited to its end even then: only it knows when its work no longer touches anything.
 */
async function runHandler<T>(
  handler: (signal: AbortSignal) => Promise<T>,
  { lock, deadlineMs, clock, running }: HandlerLimits,
): Promise<T> {
  const controller = new AbortController()
  const overrun = () => controller.abort(new AppError('deadline_exceeded', 'the handler overran its deadline'))
  const timer = clock.setTimeout(overrun, deadlineMs)
  const self: RunningHandler = { controller, place: -1 }
  running.add(self)
  lock.onLost = (error) => controller.abort(error)
  try {
    return await handler(controller.signal)
  } finally {
    lock.onLost = undefined
    timer.cancel()
    running.delete(self)
  }
}
