export { type Delivery, toDelivery } from './delivery.ts'
export {
  createEventHubSender,
  type EventHubOptions,
  type EventHubSender,
  type OutgoingEvent,
} from './event-hub-sender.ts'
export { receiveLoop, type ReceiveLoop, type ReceiveLoopOptions, type ReceiveLoopState } from './receive-loop.ts'
export { createSender, type OutgoingMessage, type Sender } from './sender.ts'
export { connectServiceBus, type ServiceBus, type ServiceBusOptions } from './service-bus.ts'
export { complete, deadLetter, retry, type Settlement } from './settlement.ts'
