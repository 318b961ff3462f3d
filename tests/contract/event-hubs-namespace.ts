import {
  EventHubConsumerClient,
  EventHubProducerClient,
  type EventPosition,
  type ReceivedEventData,
  type SubscribeOptions,
} from '@azure/event-hubs'
import { startAmqpEmulator } from '@sluice/emulator-amqp'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventHubsAdministration } from './event-hubs-administration.ts'
import { realAzure } from './real-azure.ts'
import { eventually } from './service-bus-namespace.ts'
import { SkippingClock } from './skipping-clock.ts'

export type Hub = {
  Name: string
  PartitionCount: number
  ConsumerGroups?: { Name: string }[]
  RetentionTimeInHours?: number
}

const retryOptions = { maxRetries: 0, timeoutInMs: 10_000 }

/** Whether the suite runs against the real service; tests of retention, which takes hours there, are left out then. */
export const onAzure = realAzure.eventHubs !== undefined

/** Hubs to test against, and clients that are closed with them. */
export type EventHubsNamespace = {
  connectionString: string
  /** The hub's name in the namespace. */
  name(hub: string): string
  producer(hub: string): EventHubProducerClient
  consumer(hub: string, group?: string): EventHubConsumerClient
  /** Lets time pass: at once here, by waiting on Azure. */
  pass(durationMs: number): Promise<void>
  close(): Promise<void>
}

type Target = Pick<EventHubsNamespace, 'connectionString' | 'name' | 'pass' | 'close'>

/** Opens the hubs on the emulator or, under a prefix of their own, on the real service, where they are deleted at the end. */
export const openEventHubs = async (hubs: Hub[]): Promise<EventHubsNamespace> => {
  const { connectionString, name, pass, close } = await (realAzure.eventHubs === undefined
    ? openEmulator(hubs)
    : openOnAzure(realAzure.eventHubs, hubs))
  const clients: { close(): Promise<void> }[] = []
  const opened = <T extends { close(): Promise<void> }>(client: T): T => {
    clients.push(client)
    return client
  }
  return {
    connectionString,
    name,
    pass,
    producer: (hub) => opened(new EventHubProducerClient(connectionString, name(hub), { retryOptions })),
    consumer: (hub, group = '$Default') =>
      opened(new EventHubConsumerClient(group, connectionString, name(hub), { retryOptions })),
    close: async () => {
      await Promise.all(clients.map((client) => client.close()))
      await close()
    },
  }
}

const openEmulator = async (hubs: Hub[]): Promise<Target> => {
  const clock = new SkippingClock()
  const eventHubsConfig = { UserConfig: { NamespaceConfig: [{ Type: 'EventHub', Name: 'ns', Entities: hubs }] } }
  const emulator = await startAmqpEmulator({ eventHubsConfig, clock })
  return {
    connectionString: emulator.eventHubsConnectionString,
    name: (hub) => hub,
    pass: (durationMs) => clock.skip(durationMs),
    close: () => emulator.close(),
  }
}

const openOnAzure = async (connectionString: string, hubs: Hub[]): Promise<Target> => {
  const administration = eventHubsAdministration(connectionString)
  const prefix = `contract-${randomUUID().slice(0, 8)}-`
  for (const hub of hubs) await administration.create(prefix + hub.Name, hub)
  return {
    connectionString,
    name: (hub) => prefix + hub,
    pass: (durationMs) => sleep(durationMs),
    close: async () => {
      for (const { Name } of hubs) await administration.delete(prefix + Name)
    },
  }
}

/** Reads from one partition until `count` events have come. */
export const readEvents = async (
  consumer: EventHubConsumerClient,
  partitionId: string,
  startPosition: EventPosition,
  count: number,
  options: SubscribeOptions = {},
): Promise<ReceivedEventData[]> => {
  const events: ReceivedEventData[] = []
  const failures: Error[] = []
  const subscription = consumer.subscribe(
    partitionId,
    {
      processEvents: async (batch) => void events.push(...batch),
      processError: async (error) => void failures.push(error),
    },
    { startPosition, maxWaitTimeInSeconds: 1, ...options },
  )
  try {
    return await eventually(() => {
      if (failures[0] !== undefined) throw failures[0]
      return events.length >= count && events
    })
  } finally {
    await subscription.close()
  }
}
