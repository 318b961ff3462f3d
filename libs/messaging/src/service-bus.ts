import { RetryMode, ServiceBusClient } from '@azure/service-bus'
import { withDeadline } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import { defaultCredential, type TokenCredential } from './default-credential.ts'
import { sendWithoutDelay } from './no-delay.ts'

/** One AMQP connection to a namespace, shared by the senders and receive loops that are made of it. */
export interface ServiceBus {
  readonly client: ServiceBusClient
  /** Closes every link and the connection. Close receive loops and senders first: they give back what they hold. */
  close(): Promise<void>
}

export interface ServiceBusOptions {
  connectionString?: string | undefined
  /** Fully qualified, such as `contoso.servicebus.windows.net`. */
  namespace?: string | undefined
  /** For `namespace`; the machine's own identity unless given. */
  credential?: TokenCredential | undefined
}

// The SDK's own defaults (three retries of 60 s, 30 s apart) would outlast every deadline here. What must be tried for
// longer, such as a settlement or a link, is retried by its owner.
const retryOptions = {
  mode: RetryMode.Exponential,
  maxRetries: 3,
  timeoutInMs: 5000,
  retryDelayInMs: 250,
  maxRetryDelayInMs: 2000,
}

const closeDeadlineMs = 5000

/** Connects when first used, and again whenever the connection was lost. @throws TypeError without any address */
export function connectServiceBus(options: ServiceBusOptions, { logger }: { logger: Logger }): ServiceBus {
  sendWithoutDelay()
  const client = createClient(options)
  return {
    client,
    close: async () => {
      const overrun = () => new Error(`the connection did not close within ${closeDeadlineMs} ms`)
      // Nothing is lost with a connection that does not close: the broker ends it when the socket goes.
      await withDeadline(closeDeadlineMs, undefined, () => client.close(), overrun).catch((err: unknown) =>
        logger.warn({ err }, 'Service Bus connection not closed cleanly'),
      )
    },
  }
}

function createClient({ connectionString, namespace, credential }: ServiceBusOptions): ServiceBusClient {
  if (connectionString !== undefined) return new ServiceBusClient(connectionString, { retryOptions })
  if (namespace === undefined) throw new TypeError('Service Bus needs a connection string or a namespace')
  return new ServiceBusClient(namespace, credential ?? defaultCredential(), { retryOptions })
}
