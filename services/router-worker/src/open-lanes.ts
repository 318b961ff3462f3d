import type { PlatformConfig } from '@sluice/contracts'
import {
  connectServiceBus,
  receiveLoop,
  type ReceiveLoop,
  type ServiceBus,
  type ServiceBusOptions,
  SessionLoop,
} from '@sluice/messaging'
import { type LaneStates, noteServer, rebuildIndex } from '@sluice/parking'
import { LendingPool } from '@sluice/resilience'
import type { RedisConnections } from '@sluice/storage'
import { Dispatcher } from './dispatcher.ts'
import { handleConversation } from './handle-conversation.ts'
import { handleParked } from './handle-parked.ts'
import { handleRequest } from './handle-request.ts'
import type { HandlerDeps } from './handler-deps.ts'
import { LaneGates } from './lane-gates.ts'
import { PurgedLanes } from './purged-lanes.ts'

interface LaneOptions {
  platform: PlatformConfig
  serviceBus: ServiceBus
  /** Where `serviceBus` is: each lane with sessions gets a connection of its own. */
  connection: ServiceBusOptions
  redis: RedisConnections['client']
  states: LaneStates
  handlerDeadlineMs: number
  /** See the dispatcher's. */
  idleMs?: number
}

/** What receives from the lanes' queues and dispatches what waits, in slots that the lanes share. */
export interface Lanes {
  start(): void
  check(): Promise<void>
  isClosed(lane: string): boolean
  /** Stops receiving and dispatching, then waits for what is in hand. */
  drain(deadlineMs: number): Promise<void>
}

type Given = Omit<HandlerDeps, 'purged' | 'wakeDispatcher'>

export function openLanes(given: Given, options: LaneOptions): Lanes {
  const { platform, redis, states, handlerDeadlineMs } = options
  const { parking, ledger, clock, logger, metrics } = given
  const lanes = Object.entries(platform.lanes)
  const pool = new LendingPool(
    platform.slots,
    lanes.map(([name, { share }]) => ({ name, share })),
  )
  const purged = new PurgedLanes(parking.view, clock)
  const deps: HandlerDeps = { ...given, purged, wakeDispatcher: (inMs) => dispatcher.wake(inMs) }

  const connections: ServiceBus[] = []
  const common = { handlerDeadlineMs, logger, metrics, clock }
  const loops = new Map<string, ReceiveLoop | SessionLoop>(
    lanes.map(([name, lane]) => {
      const context = { name, lane, config: platform }
      const slots = pool.member(name)
      if (!lane.sessions) {
        const handle = handleRequest(deps, context)
        return [name, receiveLoop({ ...common, serviceBus: options.serviceBus, queue: name, pool: slots, handle })]
      }
      const serviceBus = connectServiceBus(options.connection, { logger })
      connections.push(serviceBus)
      const handle = handleConversation(deps, context)
      return [name, new SessionLoop({ ...common, serviceBus, queue: name, slots, handle })]
    }),
  )
  const gates = new LaneGates({ lanes: loops, view: parking.view, purged, logger })
  const dispatcher = new Dispatcher({
    parking,
    slots: new Map(lanes.filter(([, { sessions }]) => !sessions).map(([name]) => [name, pool.member(name)])),
    handle: handleParked(deps, (lane) => platform.lanes[lane]?.priority),
    handlerDeadlineMs,
    idleMs: options.idleMs,
    rebuild: () => rebuildIndex({ redis, parking, ledger, states, clock, logger }),
    heard: () => gates.follow(),
    clock,
    logger,
  })
  const onReady = () =>
    void noteServer({ redis, clock }).catch((err: unknown) => logger.warn({ err }, 'Redis did not say which one it is'))

  return {
    start() {
      redis.on('ready', onReady)
      if (redis.status === 'ready') onReady()
      for (const loop of loops.values()) loop.start()
      dispatcher.start()
    },
    check: async () => void (await Promise.all([...loops.values()].map((loop) => loop.check()))),
    isClosed: (lane) => gates.isClosed(lane),
    async drain(deadlineMs) {
      redis.off('ready', onReady)
      await Promise.all([
        dispatcher.stop(deadlineMs),
        ...[...loops.values()].map((loop) => loop.drain(deadlineMs)),
        gates.settled(),
      ])
      await Promise.all(connections.map((connection) => connection.close()))
    },
  }
}
