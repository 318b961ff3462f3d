import { ServiceBusClient } from '@azure/service-bus'
import { startAmqpEmulator } from '@sluice/emulator-amqp'
import {
  complete,
  connectServiceBus,
  createSender,
  type Delivery,
  receiveLoop,
  type ReceiveLoop,
  type ReceiveLoopOptions,
} from '@sluice/messaging'
import { SlotPool } from '@sluice/resilience'
import { createLogger, createMetrics, type Metrics } from '@sluice/telemetry'
import { setTimeout as sleep } from 'node:timers/promises'
import { onTestFinished } from 'vitest'

export interface LogLine {
  level: string
  msg: string
  state?: string
  [field: string]: unknown
}

type LoopOptions = Partial<Pick<ReceiveLoopOptions, 'pool' | 'handle' | 'handlerDeadlineMs' | 'retryHoldMs'>> & {
  slots?: number
  source?: { queue: string } | { topic: string; subscription: string }
}

/** A configuration with queues `q` and `sessions` and topic `t` with subscription `s`. */
export const brokerConfig = (lockDuration = 'PT30S') => ({
  UserConfig: {
    Namespaces: [
      {
        Name: 'sbemulatorns',
        Queues: [
          { Name: 'q', Properties: { LockDuration: lockDuration, MaxDeliveryCount: 50 } },
          { Name: 'sessions', Properties: { LockDuration: lockDuration, RequiresSession: true } },
        ],
        Topics: [{ Name: 't', Subscriptions: [{ Name: 's', Properties: { LockDuration: lockDuration } }] }],
      },
    ],
    Logging: { Type: 'Console' },
  },
})

/** Polls until `check` neither throws nor answers false; the last failure is the error. */
export async function eventually(check: () => unknown, withinMs = 10_000): Promise<void> {
  for (const deadline = Date.now() + withinMs; ; await sleep(10)) {
    try {
      if ((await check()) !== false) return
      if (Date.now() > deadline) throw new Error(`never true: ${check.toString()}`)
    } catch (error) {
      if (Date.now() > deadline) throw error
    }
  }
}

/** A broker of its own for one test, with clients of the product and of the unmodified SDK. */
export async function openBroker(lockDuration?: string) {
  const emulator = await startAmqpEmulator({ serviceBusConfig: brokerConfig(lockDuration) })
  // The last to be registered is the first to run: the broker outlives its clients.
  onTestFinished(() => emulator.close())
  const clients = openClients(emulator.serviceBusConnectionString)
  const control = `http://127.0.0.1:${emulator.controlPort}/_control`
  return {
    ...clients,
    connectionString: emulator.serviceBusConnectionString,
    fault: async (fault: object) => {
      const response = await fetch(`${control}/faults`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(fault),
      })
      if (!response.ok) throw new Error(await response.text())
    },
    clearFaults: () => fetch(`${control}/faults`, { method: 'DELETE' }),
    /** Messages of an entity at the broker, locked ones included. */
    left: async (path = 'q'): Promise<number> => {
      const state = (await (await fetch(`${control}/state`)).json()) as {
        queues: { path: string; messages: number }[]
      }
      return state.queues.find((queue) => queue.path.toLowerCase() === path.toLowerCase())?.messages ?? 0
    },
  }
}

/** Clients of one namespace; they are closed with the test, before whatever was opened earlier. */
export function openClients(connectionString: string) {
  const lines: LogLine[] = []
  const logger = createLogger({
    service: 'test',
    level: 'debug',
    destination: { write: (line) => lines.push(JSON.parse(line) as LogLine) },
  })
  const metrics = createMetrics('test')
  const serviceBus = connectServiceBus({ connectionString }, { logger })
  const sdk = new ServiceBusClient(connectionString)
  const sender = createSender(serviceBus, 'q')
  onTestFinished(async () => {
    await serviceBus.close()
    await sdk.close()
  })
  return {
    logger,
    lines,
    metrics,
    serviceBus,
    sdk,
    sender,
    send: (count: number) =>
      Promise.all(
        Array.from({ length: count }, (_, index) => sender.send({ body: `${index}`, messageId: `m${index}` })),
      ),
    /** A started loop on queue `q` unless another source is given, drained with the test. */
    loop: ({ slots = 4, source = { queue: 'q' }, ...given }: LoopOptions): ReceiveLoop => {
      const loop = receiveLoop({
        ...source,
        serviceBus,
        pool: new SlotPool(slots),
        handle: async () => complete(),
        handlerDeadlineMs: 60_000,
        logger,
        metrics,
        ...given,
      })
      loop.start()
      onTestFinished(() => loop.drain(0))
      return loop
    },
    settled: (settlement: string) => metricOf(metrics, `settlement="${settlement}"`),
  }
}

async function metricOf(metrics: Metrics, label: string): Promise<number> {
  const { text } = await metrics.render()
  const line = text.split('\n').find((line) => line.startsWith('sluice_settled_total{') && line.includes(label))
  return Number(line?.split(' ').at(-1) ?? 0)
}

/** Handlers that stay until the test lets them go. */
export function heldHandlers() {
  const held: { delivery: Delivery; signal: AbortSignal; finish: () => void }[] = []
  let most = 0
  return {
    held,
    /** The most that were held at any one time. */
    get most() {
      return most
    },
    handle: async (delivery: Delivery, signal: AbortSignal) => {
      const { promise, resolve: finish } = Promise.withResolvers<void>()
      const entry = { delivery, signal, finish }
      held.push(entry)
      most = Math.max(most, held.length)
      await promise
      held.splice(held.indexOf(entry), 1)
      return complete()
    },
    finishAll: () => {
      for (const { finish } of [...held]) finish()
    },
  }
}
