import { BrokerError, invalidArgument, notAllowed } from '../broker-error.ts'
import type { Clock } from '../clock.ts'
import { parseEventPosition } from '../event-hubs/event-position.ts'
import type { EventHubs } from '../event-hubs/event-hubs.ts'
import type { RegisteredConsumer } from '../event-hubs/consumer-registry.ts'
import { acceptAttach, requestedFilter } from './attach.ts'
import { EventConsumerLink } from './event-consumer-link.ts'
import { serveIngress } from './ingress-link.ts'
import type { ManagementRequest, ManagementResponse } from './management-request.ts'
import type { OpenLink, Peer } from './peer.ts'
import type { RequestHandler } from './request-link.ts'
import { amqpTypes, type RheaReceiver, type RheaSender } from './rhea-internals.ts'
import type { LinkContext } from './service-bus-links.ts'

const positionFilter = 'apache.org:selector-filter:string'
const metricsCapability = 'com.microsoft:enable-receiver-runtime-metric'
const epochProperty = 'com.microsoft:epoch'

/** Opens a client's sender on an event hub or one of its partitions. @throws BrokerError when it must be refused */
export const openEventIngress = (
  context: LinkContext,
  eventHubs: EventHubs,
  address: string,
  receiver: RheaReceiver,
): void => {
  const place = eventHubs.resolve(address)
  if (place.consumerGroup !== undefined) throw notAllowed('Events cannot be sent to a consumer group.')
  acceptAttach(receiver)
  const { batchBytes } = context.limits
  serveIngress({
    ...context,
    limits: { messageBytes: batchBytes, batchBytes },
    receiver,
    ingress: { path: place.hub.name, publish: (messages, key) => eventHubs.publish(place, messages, key) },
  })
}

/** Opens a client's receiver on a partition. @throws BrokerError when it must be refused */
export const openEventConsumer = (
  context: LinkContext,
  peer: Peer,
  eventHubs: EventHubs,
  address: string,
  sender: RheaSender,
): void => {
  const { hub, partition, consumerGroup } = eventHubs.resolve(address)
  if (partition === undefined || consumerGroup === undefined)
    throw notAllowed('Events are received from a partition in a consumer group.')
  const position = parseEventPosition(requestedFilter(sender, positionFilter))
  const capabilities = [sender.desired_capabilities].flat()
  const tracksEnd = capabilities.includes(metricsCapability)
  const epoch = (sender.properties as Record<string, unknown> | undefined)?.[epochProperty]
  const registry = eventHubs.registry(partition)
  const registered: RegisteredConsumer = {
    epoch: epoch === undefined || epoch === null ? undefined : Number(epoch),
    stolen: (error) => link.close(error),
  }
  const link: OpenLink = {
    session: sender.session,
    path: hub.name,
    detached: () => {
      registry.remove(consumerGroup, registered)
      consumer.detached()
    },
    close: (error) => consumer.close(error),
  }
  registry.add(consumerGroup, registered)
  const consumer = new EventConsumerLink({
    sender,
    partition,
    from: partition.locate(position),
    tracksEnd,
    clock: context.clock,
  })
  acceptAttach(sender)
  if (tracksEnd) sender.local.attach['offered_capabilities'] = metricsCapability
  peer.links.add(link)
  sender.once('sender_close', () => peer.drop(link))
}

/** Answers READ requests about event hubs and partitions. */
export const eventHubsManagement =
  (eventHubs: EventHubs, clock: Clock): RequestHandler =>
  (request) => {
    if (request.operation !== 'READ')
      throw new BrokerError('amqp:not-implemented', `The operation '${request.operation}' is not supported.`)
    const type = request.text('type')
    if (type === 'com.microsoft:eventhub') return readHub(eventHubs, request)
    if (type === 'com.microsoft:partition') return readPartition(eventHubs, clock, request)
    throw invalidArgument(`The type '${type ?? ''}' is unknown.`)
  }

const readHub = (eventHubs: EventHubs, request: ManagementRequest): ManagementResponse => {
  const { name, createdAtMs, partitions } = eventHubs.hub(request.text('name') ?? '')
  return {
    status: 200,
    body: {
      name,
      type: 'com.microsoft:eventhub',
      created_at: amqpTypes.wrap_timestamp(createdAtMs),
      partition_count: amqpTypes.wrap_int(partitions.length),
      partition_ids: amqpTypes.wrap_array(
        partitions.map(({ id }) => id),
        0xa1,
      ),
      georeplication_factor: amqpTypes.wrap_int(1),
    },
  }
}

const readPartition = (eventHubs: EventHubs, clock: Clock, request: ManagementRequest): ManagementResponse => {
  const hub = eventHubs.hub(request.text('name') ?? '')
  const partition = eventHubs.partition(hub, request.text('partition') ?? '')
  const { begin, last, isEmpty } = partition.properties
  return {
    status: 200,
    body: {
      name: hub.name,
      type: 'com.microsoft:partition',
      partition: partition.id,
      begin_sequence_number: amqpTypes.wrap_long(begin),
      last_enqueued_sequence_number: amqpTypes.wrap_long(last?.sequenceNumber ?? -1),
      last_enqueued_offset: String(last?.offset ?? -1),
      last_enqueued_time_utc: amqpTypes.wrap_timestamp(last?.enqueuedAtMs ?? 0),
      is_partition_empty: isEmpty,
      runtime_info_retrieval_time_utc: amqpTypes.wrap_timestamp(clock.now()),
    },
  }
}
