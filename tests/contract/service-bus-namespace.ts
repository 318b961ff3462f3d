import { ServiceBusAdministrationClient, ServiceBusClient, type ServiceBusClientOptions } from '@azure/service-bus'
import { startAmqpEmulator, type AmqpEmulator } from '@sluice/emulator-amqp'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { realAzure } from './real-azure.ts'
import { SkippingClock } from './skipping-clock.ts'

/** Entity properties under the names of the emulator's Config.json. */
export type Properties = Record<string, string | number | boolean>
export type Rule = { Name: string; Properties: Record<string, unknown> }
export type Layout = {
  queues?: Record<string, Properties>
  topics?: Record<
    string,
    { properties?: Properties; subscriptions: Record<string, { properties?: Properties; rules?: Rule[] }> }
  >
}

/**
 * A namespace to test against: our emulator, or real Service Bus when SLUICE_CONTRACT_SERVICE_BUS names one. There
 * the entities are created under a prefix of their own and deleted afterwards.
 */
export type ContractNamespace = {
  /** Absent against Azure; tests that need it are skipped there. */
  emulator: AmqpEmulator | undefined
  connectionString: string
  client(options?: ServiceBusClientOptions): ServiceBusClient
  /** The entity's name in the namespace. */
  name(entity: string): string
  /** The broker's idea of now. */
  now(): number
  /** Lets time pass: at once here, by waiting on Azure. */
  pass(durationMs: number): Promise<void>
  close(): Promise<void>
}

export const onAzure = realAzure.serviceBus !== undefined

// Short enough that a test of a refusal does not sit through the SDK's 30-second pauses between retries.
const retryOptions = { maxRetries: 0, timeoutInMs: 20_000 }

export const openNamespace = (layout: Layout): Promise<ContractNamespace> =>
  realAzure.serviceBus === undefined ? openEmulator(layout) : openOnAzure(realAzure.serviceBus, layout)

export const configOf = (layout: Layout): object => ({
  UserConfig: {
    Namespaces: [
      {
        Name: 'sbemulatorns',
        Queues: Object.entries(layout.queues ?? {}).map(([Name, Properties]) => ({ Name, Properties })),
        Topics: Object.entries(layout.topics ?? {}).map(([Name, { properties, subscriptions }]) => ({
          Name,
          Properties: properties ?? {},
          Subscriptions: Object.entries(subscriptions).map(([Name, { properties, rules }]) => ({
            Name,
            Properties: properties ?? {},
            ...(rules === undefined ? {} : { Rules: rules }),
          })),
        })),
      },
    ],
  },
})

const openEmulator = async (layout: Layout): Promise<ContractNamespace> => {
  const clock = new SkippingClock()
  const emulator = await startAmqpEmulator({ serviceBusConfig: configOf(layout), clock })
  const clients: ServiceBusClient[] = []
  return {
    emulator,
    connectionString: emulator.serviceBusConnectionString,
    client: (options) => {
      const client = new ServiceBusClient(emulator.serviceBusConnectionString, { retryOptions, ...options })
      clients.push(client)
      return client
    },
    name: (entity) => entity,
    now: clock.now,
    pass: (durationMs) => clock.skip(durationMs),
    close: async () => {
      await Promise.all(clients.map((client) => client.close()))
      await emulator.close()
    },
  }
}

const lowerFirst = (properties: Properties): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(properties).map(([key, value]) => [key.charAt(0).toLowerCase() + key.slice(1), value]),
  )

const openOnAzure = async (connectionString: string, layout: Layout): Promise<ContractNamespace> => {
  const admin = new ServiceBusAdministrationClient(connectionString)
  const prefix = `contract-${randomUUID().slice(0, 8)}-`
  const withForwards = (properties: Properties = {}): Record<string, unknown> => {
    const named = lowerFirst(properties)
    for (const key of ['forwardTo', 'forwardDeadLetteredMessagesTo'])
      if (typeof named[key] === 'string') named[key] = prefix + named[key]
    return named
  }
  // Targets of a forward must exist first, so entities that forward are created last.
  const queues = Object.entries(layout.queues ?? {}).sort(
    ([, a], [, b]) =>
      Number('ForwardTo' in a || 'ForwardDeadLetteredMessagesTo' in a) -
      Number('ForwardTo' in b || 'ForwardDeadLetteredMessagesTo' in b),
  )
  for (const [topic, { properties, subscriptions }] of Object.entries(layout.topics ?? {})) {
    await admin.createTopic(prefix + topic, withForwards(properties))
    for (const [name, subscription] of Object.entries(subscriptions)) {
      await admin.createSubscription(prefix + topic, name, withForwards(subscription.properties))
      if (subscription.rules === undefined) continue
      await admin.deleteRule(prefix + topic, name, '$Default')
      for (const { Name, Properties } of subscription.rules) {
        const sql = Properties['SqlFilter'] as { SqlExpression: string } | undefined
        const action = Properties['Action'] as { SqlExpression: string } | undefined
        const correlation = Properties['CorrelationFilter'] as Properties | undefined
        const filter = sql === undefined ? lowerFirst(correlation ?? {}) : { sqlExpression: sql.SqlExpression }
        if (action === undefined) await admin.createRule(prefix + topic, name, Name, filter)
        else await admin.createRule(prefix + topic, name, Name, filter, { sqlExpression: action.SqlExpression })
      }
    }
  }
  for (const [name, properties] of queues) await admin.createQueue(prefix + name, withForwards(properties))
  const clients: ServiceBusClient[] = []
  return {
    emulator: undefined,
    connectionString,
    client: (options) => {
      const client = new ServiceBusClient(connectionString, { retryOptions, ...options })
      clients.push(client)
      return client
    },
    name: (entity) => prefix + entity,
    now: Date.now,
    pass: (durationMs) => sleep(durationMs + 1000),
    close: async () => {
      await Promise.all(clients.map((client) => client.close()))
      for (const topic of Object.keys(layout.topics ?? {})) await admin.deleteTopic(prefix + topic)
      for (const [name] of queues) await admin.deleteQueue(prefix + name)
    },
  }
}

/** The reason code of the ServiceBusError that the promise is rejected with. */
export const failureCode = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise
  } catch (error) {
    return String((error as { code?: unknown }).code)
  }
  return 'no error'
}

/** Polls until the check holds. @throws Error after the deadline */
export const eventually = async <T>(
  check: () => Promise<T | undefined | false> | T | undefined | false,
  deadlineMs = 10_000,
): Promise<T> => {
  const until = Date.now() + deadlineMs
  for (;;) {
    const found = await check()
    if (found !== undefined && found !== false) return found
    if (Date.now() > until) throw new Error(`not so after ${deadlineMs} ms`)
    await sleep(10)
  }
}
