// Reads results from Event Hubs and goes on where it stopped, with its position kept in Blob Storage. With the stack
// running (npm start), in another terminal, as often and as many at a time as you like:
//
//   node scripts/launch.js docs/examples/consume-results.ts
//
// Instances share the partitions. An event comes again when an instance ends between handling it and noting so: act on
// an id once. STACK_ENV names another stack.env, HUB another hub than `results`, CONTAINER another place for positions.
import { fileURLToPath } from 'node:url'
import { EventHubConsumerClient } from '@azure/event-hubs'
import { BlobCheckpointStore } from '@azure/eventhubs-checkpointstore-blob'
import { ContainerClient } from '@azure/storage-blob'

/** The part of an event that this example reads: CloudEvents 1.0, whatever it is about. */
interface ResultEvent {
  id: string
  type: string
  subject: string
  data: { custom_id?: string; event_ref?: { url: string; sha256: string } }
}

process.loadEnvFile(process.env.STACK_ENV ?? fileURLToPath(new URL('../../.local/stack.env', import.meta.url)))
const env = (name: string): string => {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is not in stack.env`)
  return value
}

const container = new ContainerClient(
  env('AZURE_STORAGE_CONNECTION_STRING'),
  process.env.CONTAINER ?? 'results-consumer',
)
await container.createIfNotExists()
const consumer = new EventHubConsumerClient(
  '$Default',
  env('EVENT_HUBS_CONNECTION_STRING'),
  process.env.HUB ?? 'results',
  new BlobCheckpointStore(container),
  {
    loadBalancingOptions: {
      strategy: 'greedy',
      partitionOwnershipExpirationIntervalInMs: 10_000,
      updateIntervalInMs: 1_000,
    },
  },
)

const print = (text: string) => void process.stdout.write(`${text}\n`)
const handled = new Set<string>()
const subscription = consumer.subscribe(
  {
    async processEvents(events, context) {
      for (const { body } of events) {
        const event = body as ResultEvent
        // The id is the same however often it comes; keep it where your own effect is kept.
        if (handled.has(event.id)) continue
        handled.add(event.id)
        // Over a megabyte the event is a link: event.data.event_ref.url, for an hour, with a digest.
        print(`${event.id} ${event.type} ${event.data.custom_id ?? ''}`)
      }
      const last = events.at(-1)
      // After the effect, never before: what is noted is not read again.
      if (last !== undefined) await context.updateCheckpoint(last)
    },
    async processError(error) {
      process.stderr.write(`${error.message}\n`)
    },
  },
  { startPosition: { offset: '-1' }, maxBatchSize: 20, maxWaitTimeInSeconds: 1 },
)
print('reading')

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void subscription
      .close()
      .then(() => consumer.close())
      .then(() => process.exit(0))
  })
}
