// Puts one request on Service Bus and waits until its result has arrived at a webhook, at a SignalR client and on
// Event Hubs. With the stack running (npm start), in another terminal:
//
//   node scripts/launch.js docs/examples/enqueue.ts "What is a sluice?"
//
// STACK_ENV names another stack.env. RECEIVER_HOST is the name under which the notifier reaches this machine, where
// that is not 127.0.0.1. Exit code 0 when the result came on all three ways within a minute.
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { EventHubConsumerClient } from '@azure/event-hubs'
import { ServiceBusClient } from '@azure/service-bus'
import { HubConnectionBuilder, LogLevel } from '@microsoft/signalr'
import { Webhook } from 'standardwebhooks'

/** The part of a result event that this example reads; docs/schemas/result-event.schema.json has all of it. */
interface ResultEvent {
  id: string
  data: {
    custom_id: string
    response: { body?: { choices?: { message: { content: string | null } }[] } } | null
    error: { code: string; message: string } | null
    sluice: { status: string; decision: { tier: string | null; deployment: string | null; why: string } | null }
  }
}

const sinks = ['webhook', 'signalr', 'event-hubs'] as const
type Sink = (typeof sinks)[number]

process.loadEnvFile(process.env.STACK_ENV ?? fileURLToPath(new URL('../../.local/stack.env', import.meta.url)))
const env = (name: string): string => process.env[name] ?? fail(`${name} is not in stack.env`)
const question = process.argv[2] ?? 'What is a sluice? Answer in one sentence.'
const run = randomUUID()
const user = `example-${run}`
const customId = `example-${run}`

const arrived = new Set<Sink>()
const { promise: allArrived, resolve: done } = Promise.withResolvers<void>()
function arrive(sink: Sink, event: ResultEvent): void {
  // Deliveries may come twice, and Event Hubs carries everybody's results.
  if (event.data.custom_id !== customId || arrived.has(sink)) return
  arrived.add(sink)
  const { sluice, response, error } = event.data
  const answer = response?.body?.choices?.[0]?.message.content ?? error?.message ?? '(a large result: see body_ref)'
  say(`${sink.padEnd(10)} ${event.id}`)
  say(`           ${sluice.status} by ${sluice.decision?.deployment ?? 'nobody'}: ${answer.slice(0, 100)}`)
  if (arrived.size === sinks.length) done()
}

// 1. A webhook receiver: verify the signature over the raw body, answer 2xx at once, work afterwards.
const webhook = new Webhook(env('SLUICE_WEBHOOK_SECRET'))
const receiver = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    try {
      const event = webhook.verify(Buffer.concat(chunks), request.headers as Record<string, string>) as ResultEvent
      response.writeHead(204).end()
      arrive('webhook', event)
    } catch {
      response.writeHead(401).end()
    }
  })
})
const host = process.env.RECEIVER_HOST ?? '127.0.0.1'
await new Promise<void>((resolve) => receiver.listen(0, host === '127.0.0.1' ? host : '0.0.0.0', resolve))
const receiverUrl = `http://${host}:${(receiver.address() as AddressInfo).port}/results`

// 2. A SignalR client: it asks ingest where to connect, and gets every result for its user.
const connection = new HubConnectionBuilder()
  .withUrl(`${env('INGEST_URL')}?user=${user}`, { accessTokenFactory: () => env('SLUICE_API_KEY') })
  .configureLogging(LogLevel.Error)
  .build()
connection.on('finished', (event: ResultEvent) => arrive('signalr', event))
await connection.start()

// 3. An Event Hubs consumer, from now on.
const consumer = new EventHubConsumerClient('$Default', env('EVENT_HUBS_CONNECTION_STRING'), 'results')
const subscription = consumer.subscribe(
  {
    processEvents: async (events) => {
      for (const { body } of events) arrive('event-hubs', body as ResultEvent)
    },
    processError: async (error) => say(`event-hubs ${error.message}`),
  },
  { startPosition: { enqueuedOn: Date.now() } },
)

// 4. The request. The body is an object (or bytes): a string would be sent as a JSON string, in quotes.
const serviceBus = new ServiceBusClient(env('SERVICE_BUS_CONNECTION_STRING'))
const line = {
  custom_id: customId,
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'auto', messages: [{ role: 'user', content: question }], max_tokens: 200 },
  sluice: {
    tenant: env('SLUICE_TENANT'),
    deadline: new Date(Date.now() + 60_000).toISOString(),
    deliver: [{ type: 'webhook', url: receiverUrl }, { type: 'signalr', user }, { type: 'event-hubs' }],
  },
}
await serviceBus.createSender('requests-standard').sendMessages({
  body: line,
  contentType: 'application/json',
  subject: line.url,
  correlationId: line.custom_id,
  // The same key again, after a send whose outcome is unknown, is the same request.
  applicationProperties: { idempotencyKey: line.custom_id },
})
say(`sent       ${line.custom_id}`)

const timeout = setTimeout(() => done(), 60_000)
await allArrived
clearTimeout(timeout)
await Promise.all([connection.stop(), subscription.close(), serviceBus.close()])
await consumer.close()
receiver.close()
receiver.closeAllConnections()
const missing = sinks.filter((sink) => !arrived.has(sink))
if (missing.length > 0) fail(`nothing came by ${missing.join(' and ')}`)

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

function fail(sentence: string): never {
  process.stderr.write(`${sentence}\n`)
  process.exit(1)
}
