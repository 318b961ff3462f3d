// The floors of the pipeline bench, in a process of their own: `steps` does per request the I/O that the pipeline does,
// with nothing between the steps; `raw` receives, sends and completes with the bare SDK. Each works off its own queue
// whenever there is something in it. Prints "ready" once both are subscribed.
import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { CosmosClient } from '@azure/cosmos'
import { type ProcessErrorArgs, ServiceBusClient, type ServiceBusReceivedMessage } from '@azure/service-bus'
import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { Pool, request } from 'undici'
import { concurrency } from './bench-stack.ts'

// As the services do it: without Nagle's algorithm, which would hold back a floor's frames for up to 40 ms.
subscribe('net.client.socket', (message) => void (message as { socket: Socket }).socket.setNoDelay(true))

const env = process.env as Record<string, string>
const serviceBus = new ServiceBusClient(env.SERVICE_BUS_CONNECTION_STRING ?? '')
const cosmos = new CosmosClient({
  endpoint: env.COSMOS_ENDPOINT ?? '',
  key: env.COSMOS_KEY ?? '',
  connectionPolicy: { enableEndpointDiscovery: false },
})
const requests = cosmos.database('sluice').container('requests')
const deliveries = cosmos.database('sluice').container('deliveries')
const redis = new Redis(env.REDIS_URL ?? '')
const bullmq = () => new Redis(env.REDIS_URL ?? '', { maxRetriesPerRequest: null })
const twin = new Pool(env.OPENAI_TWIN_URL ?? '', { connections: concurrency * 2 })
const options = { maxConcurrentCalls: concurrency, autoCompleteMessages: false }
const noRenewal = { maxAutoLockRenewalDurationInMs: 0 }
const processError = async ({ error }: ProcessErrorArgs) => console.error('floor', error.message)

interface Line {
  custom_id: string
  body: object
  sluice: { deliver: { url: string }[] }
}

async function steps(): Promise<void> {
  const receiver = serviceBus.createReceiver('floor-steps', noRenewal)
  const topic = serviceBus.createSender('floor-results')
  const results = serviceBus.createReceiver('floor-results', 'webhooks', noRenewal)
  const timer = new Queue('floor', { connection: bullmq() })
  const reserve = await redis.script('LOAD', "return redis.call('INCRBY', KEYS[1], ARGV[1])")

  receiver.subscribe(
    {
      processMessage: async (message: ServiceBusReceivedMessage) => {
        const line = message.body as Line
        const row = {
          id: `floor-${line.custom_id}`,
          tenant: 'floor',
          status: 'running',
          fence: 1,
          line,
          body: line.body,
        }
        await requests.items.create(row)
        await redis.evalsha(String(reserve), 1, 'floor', 50)
        const answer = await twin.request({
          method: 'POST',
          path: '/r/swedencentral/openai/v1/chat/completions',
          headers: { 'api-key': env.AZURE_OPENAI_API_KEY ?? '', 'content-type': 'application/json' },
          body: JSON.stringify({ ...line.body, model: 'phi-4-mini' }),
        })
        const result = {
          id: row.id,
          custom_id: line.custom_id,
          response: await answer.body.json(),
          deliver: line.sluice.deliver,
        }
        const item = requests.item(row.id, ['floor', row.id])
        await item.patch({
          condition: 'FROM c WHERE c.fence = 1',
          operations: [
            { op: 'set', path: '/status', value: 'succeeded' },
            { op: 'set', path: '/result', value: result },
            { op: 'set', path: '/published', value: false },
          ],
        })
        await topic.sendMessages({ body: result })
        await item.patch([{ op: 'set', path: '/published', value: true }])
        await receiver.completeMessage(message)
      },
      processError,
    },
    options,
  )
  results.subscribe(
    {
      processMessage: async (message: ServiceBusReceivedMessage) => {
        const result = message.body as { id: string }
        await deliveries.items.create({
          id: result.id,
          tenant: 'floor',
          requestId: result.id,
          status: 'pending',
          event: result,
        })
        await timer.add('attempt', { id: result.id }, { removeOnComplete: true })
        await results.completeMessage(message)
      },
      processError,
    },
    { ...options, maxConcurrentCalls: concurrency * 2 },
  )
  const worker = new Worker<{ id: string }>(
    'floor',
    async ({ data: { id } }) => {
      const item = deliveries.item(id, ['floor', id])
      const { resource } = await item.read<{ event: { deliver: { url: string }[] } }>()
      const posted = await request(resource?.event.deliver[0]?.url ?? '', {
        method: 'POST',
        body: JSON.stringify(resource?.event),
      })
      await posted.body.dump()
      await item.patch([{ op: 'set', path: '/status', value: 'delivered' }])
    },
    { connection: bullmq(), concurrency: concurrency * 2 },
  )
  worker.on('error', (error) => console.error('floor', error.message))
}

async function raw(): Promise<void> {
  const receiver = serviceBus.createReceiver('floor-raw-in', noRenewal)
  const sender = serviceBus.createSender('floor-raw-out')
  receiver.subscribe(
    {
      processMessage: async (message: ServiceBusReceivedMessage) => {
        await sender.sendMessages({ body: message.body as unknown })
        await receiver.completeMessage(message)
      },
      processError,
    },
    options,
  )
}

await Promise.all([steps(), raw()])
console.log('ready')
process.stdin.on('end', () => process.exit(0)).resume()
