import {
  EventHubConsumerClient,
  EventHubProducerClient,
  type EventPosition,
  type ReceivedEventData,
  type SubscribeOptions,
} from '@azure/event-hubs'
import { startAmqpEmulator, type AmqpEmulator } from '@sluice/emulator-amqp'
import { eventually } from './service-bus-namespace.ts'
import { SkippingClock } from './skipping-clock.ts'

export type Hub = {
  Name: string
  PartitionCount: number
  ConsumerGroups?: { Name: string }[]
  RetentionTimeInHours?: number
}

const retryOptions = { maxRetries: 0, timeoutInMs: 10_000 }

/** An emulator with the given hubs, and clients that are closed with it. */
export type EventHubsNamespace = {
  emulator: AmqpEmulator
  clock: SkippingClock
  producer(hub: string): EventHubProducerClient
  consumer(hub: string, group?: string): EventHubConsumerClient
  close(): Promise<void>
}

export const openEventHubs = async (entities: Hub[], extra: object = {}): Promise<EventHubsNamespace> => {
  const clock = new SkippingClock()
  const eventHubsConfig = {
    UserConfig: { NamespaceConfig: [{ Type: 'EventHub', Name: 'ns', Entities: entities, ...extra }] },
  }
  const emulator = await startAmqpEmulator({ eventHubsConfig, clock })
  const clients: { close(): Promise<void> }[] = []
  const opened = <T extends { close(): Promise<void> }>(client: T): T => {
    clients.push(client)
    return client
  }
  return {
    emulator,
    clock,
    producer: (hub) => opened(new EventHubProducerClient(emulator.eventHubsConnectionString, hub, { retryOptions })),
    consumer: (hub, group = '$Default') =>
      opened(new EventHubConsumerClient(group, emulator.eventHubsConnectionString, hub, { retryOptions })),
    close: async () => {
      await Promise.all(clients.map((client) => client.close()))
      await emulator.close()
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
