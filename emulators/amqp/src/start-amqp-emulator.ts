import type { BrokerContext } from './broker-context.ts'
import { systemClock, type Clock } from './clock.ts'
import { readEventHubsConfig } from './config/event-hubs-config.ts'
import { readServiceBusConfig } from './config/service-bus-config.ts'
import { FaultPlan } from './control/fault-plan.ts'
import { EventHubs } from './event-hubs/event-hubs.ts'
import { Scheduler } from './scheduler.ts'
import { AmqpServer, defaultServerLimits, type ServerLimits } from './server/amqp-server.ts'
import { LinkRouter } from './server/link-router.ts'
import type { RuleDefinition } from './service-bus/rule-set.ts'
import { firstLockId } from './service-bus/lock-token.ts'
import { Namespace } from './service-bus/namespace.ts'
import { memoryJournal } from './store/memory-journal.ts'

export type AmqpEmulatorOptions = {
  /** 0 or absent: a free port. */
  port?: number
  host?: string
  /** Content of a Config.json of Microsoft's Service Bus emulator. */
  serviceBusConfig?: object
  /** Content of a Config.json of Microsoft's Event Hubs emulator. */
  eventHubsConfig?: object
  clock?: Clock
  /** The largest single Service Bus message; a batch may have 1 MiB, or this when it is more. */
  maxMessageBytes?: number
  limits?: Partial<ServerLimits>
}

export type AmqpEmulator = {
  port: number
  serviceBusConnectionString: string
  eventHubsConnectionString: string
  close(): Promise<void>
}

const defaultMessageBytes = 256 * 1024
const batchBytes = 1024 * 1024

/**
 * Starts a Service Bus and Event Hubs emulator on one AMQP port.
 * @throws ConfigError when a configuration cannot be used, or the error of the listener
 */
export const startAmqpEmulator = async (options: AmqpEmulatorOptions = {}): Promise<AmqpEmulator> => {
  const serviceBus = readServiceBusConfig(options.serviceBusConfig ?? {})
  const eventHubs = readEventHubsConfig(options.eventHubsConfig ?? {})
  const clock = options.clock ?? systemClock
  const scheduler = new Scheduler(clock)
  const journal = memoryJournal()
  let nextLockId = 0
  let nextRowId = 0
  const context: BrokerContext = { clock, scheduler, journal, newLockId: () => nextLockId++, newRowId: () => ++nextRowId }
  const namespace = new Namespace(context, serviceBus)
  const hubs = new EventHubs(context, eventHubs)
  journal.restore({
    message: (entity, message) => {
      nextRowId = Math.max(nextRowId, message.rowId)
      namespace.restoreMessage(entity, message)
    },
    sequence: (entity, last) => namespace.restoreSequence(entity, last),
    sessionState: ({ entity, sessionId, state }) => namespace.restoreSessionState(entity, sessionId, state),
    duplicate: (entity, messageId, untilMs) => namespace.restoreDuplicate(entity, messageId, untilMs),
    rules: (entity, rules) => namespace.restoreRules(entity, rules.map(({ definition }) => JSON.parse(definition) as RuleDefinition)),
    event: (partition, event) => hubs.restoreEvent(partition, event),
    run: (number) => (nextLockId = firstLockId(number)),
  })
  const faults = new FaultPlan()
  const messageBytes = options.maxMessageBytes ?? defaultMessageBytes
  const limits = { messageBytes, batchBytes: Math.max(messageBytes, batchBytes) }
  const router = new LinkRouter({
    context: { ...context, faults, limits },
    namespace,
    eventHubs: hubs,
    keys: { serviceBus: serviceBus.keys, eventHubs: eventHubs.keys },
  })
  const server = new AmqpServer(router, { ...defaultServerLimits, ...options.limits })
  const port = await server.listen(options.port ?? 0, options.host ?? '127.0.0.1')
  const connectionString = (keys: { keyName: string; keys: string[] }[]): string =>
    `Endpoint=sb://localhost:${port};SharedAccessKeyName=${keys[0]?.keyName ?? 'RootManageSharedAccessKey'};SharedAccessKey=${keys[0]?.keys[0] ?? 'SAS_KEY_VALUE'};UseDevelopmentEmulator=true;`
  return {
    port,
    serviceBusConnectionString: connectionString(serviceBus.keys),
    eventHubsConnectionString: connectionString(eventHubs.keys),
    close: async () => {
      await server.close()
      scheduler.close()
      journal.close()
    },
  }
}
