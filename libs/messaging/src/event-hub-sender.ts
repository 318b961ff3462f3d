import { type EventData, EventHubProducerClient, RetryMode } from '@azure/event-hubs'
import { AppError } from '@sluice/errors'
import { withDeadline } from '@sluice/resilience'
import { Coalescer } from './coalescer.ts'
import { defaultCredential, type TokenCredential } from './default-credential.ts'
import { encodeBody, type OutgoingBody } from './encode-body.ts'
import { sendWithoutDelay } from './no-delay.ts'

export interface OutgoingEvent {
  body: OutgoingBody
  contentType?: string | undefined
  /** Events of one key keep their order and share a partition. */
  partitionKey: string
  properties?: Record<string, string | number | boolean> | undefined
}

export interface EventHubSender {
  /**
   * Resolves when the hub has stored the event. Waits for room when too many are under way.
   * @throws AppError `message_too_large` or `queue_unavailable`
   */
  send(event: OutgoingEvent, signal?: AbortSignal): Promise<void>
  /** Waits for what is under way, then closes the connection. */
  close(): Promise<void>
}

export interface EventHubOptions {
  connectionString?: string | undefined
  /** Fully qualified, such as `contoso.servicebus.windows.net`. */
  namespace?: string | undefined
  credential?: TokenCredential | undefined
  hub: string
}

const sendDeadlineMs = 10_000
const closeDeadlineMs = 5000
const maxPending = 10_000

const retryOptions = {
  mode: RetryMode.Exponential,
  maxRetries: 3,
  timeoutInMs: 5000,
  retryDelayInMs: 250,
  maxRetryDelayInMs: 2000,
}

/** Connects when first used. @throws TypeError without any address */
export function createEventHubSender(options: EventHubOptions): EventHubSender {
  sendWithoutDelay()
  const producer = createProducer(options)
  const doing = `send to hub ${options.hub}`
  const coalescer = new Coalescer<EventData>(
    {
      createBatch: async (partitionKey, signal) => {
        const batch = await producer.createBatch({ partitionKey, abortSignal: signal })
        return {
          add: (event) => batch.tryAdd(event),
          send: (signal) => producer.sendBatch(batch, { abortSignal: signal }),
        }
      },
      isRefusal: (error) => codeOf(error) === 'MessageTooLargeError',
      translate: (error) => translateEventHubs(error, doing),
    },
    { name: doing, deadlineMs: sendDeadlineMs, maxPending },
  )
  return {
    send: (event, signal) => coalescer.send(event.partitionKey, toEventData(event), signal),
    close: async () => {
      await coalescer.close()
      const overrun = () => new AppError('queue_unavailable', `hub ${options.hub}: the connection did not close`)
      await withDeadline(closeDeadlineMs, undefined, () => producer.close(), overrun)
    },
  }
}

function createProducer({ connectionString, namespace, credential, hub }: EventHubOptions): EventHubProducerClient {
  if (connectionString !== undefined) return new EventHubProducerClient(connectionString, hub, { retryOptions })
  if (namespace === undefined) throw new TypeError('Event Hubs needs a connection string or a namespace')
  return new EventHubProducerClient(namespace, hub, credential ?? defaultCredential(), { retryOptions })
}

const toEventData = ({ body, contentType, properties }: OutgoingEvent): EventData => ({
  body: encodeBody(body),
  ...(contentType === undefined ? {} : { contentType }),
  ...(properties === undefined ? {} : { properties }),
})

function translateEventHubs(error: unknown, doing: string): AppError {
  if (error instanceof AppError) return error
  const code = codeOf(error)
  const kind = code === 'MessageTooLargeError' ? 'message_too_large' : 'queue_unavailable'
  return new AppError(kind, `${doing}: ${code}`, { cause: error })
}

// The SDK's errors carry a string code; anything else is told by its name.
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}
