// The floor of the webhooks bench, in a process of its own: BullMQ hands out jobs, undici posts their bodies, and nothing
// is signed, recorded or checked. Prints "ready" once it works.
import { Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { Agent, request } from 'undici'
import { concurrency } from './bench-notifier.ts'

const [redisUrl = ''] = process.argv.slice(2)
const dispatcher = new Agent()
const worker = new Worker<{ url: string; id: string; body: string }>(
  'floor',
  async ({ data: { url, id, body } }) => {
    const headers = { 'content-type': 'application/cloudevents+json', 'webhook-id': id }
    const answer = await request(url, { method: 'POST', headers, body, dispatcher })
    await answer.body.dump()
  },
  { connection: new Redis(redisUrl, { maxRetriesPerRequest: null }), concurrency },
)
worker.on('error', (error) => console.error('floor', error.message))
await worker.waitUntilReady()
console.log('ready')
process.stdin.on('end', () => process.exit(0)).resume()
