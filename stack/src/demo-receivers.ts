import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { EventHubConsumerClient } from '@azure/event-hubs'
import { HubConnectionBuilder, LogLevel } from '@microsoft/signalr'
import type { ResultEvent } from '@sluice/contracts'
import { Webhook } from 'standardwebhooks'

export type SinkName = 'webhook' | 'signalr' | 'event-hubs'
type OnEvent = (sink: SinkName, event: ResultEvent) => void

export interface Receivers {
  webhookUrl: string
  close(): Promise<void>
}

/** A receiver of each kind, each written as a user's own would be: with the public packages alone. */
export async function startReceivers(env: Record<string, string>, user: string, onEvent: OnEvent): Promise<Receivers> {
  const server = await webhookReceiver(env.SLUICE_WEBHOOK_SECRET ?? '', onEvent)
  const connection = new HubConnectionBuilder()
    .withUrl(`${env.INGEST_URL}?user=${user}`, { accessTokenFactory: () => env.SLUICE_API_KEY ?? '' })
    .configureLogging(LogLevel.Error)
    .build()
  connection.on('finished', (event: ResultEvent) => onEvent('signalr', event))
  await connection.start()
  const consumer = new EventHubConsumerClient('$Default', env.EVENT_HUBS_CONNECTION_STRING ?? '', 'results')
  const subscription = consumer.subscribe(
    {
      processEvents: async (events) => {
        for (const { body } of events) onEvent('event-hubs', body as ResultEvent)
      },
      processError: async (error) => console.error(`Event Hubs: ${error.message}`),
    },
    { startPosition: { enqueuedOn: new Date() } },
  )
  return {
    webhookUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`,
    async close() {
      await Promise.all([connection.stop(), subscription.close()])
      await consumer.close()
      await new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
    },
  }
}

async function webhookReceiver(secret: string, onEvent: OnEvent) {
  const webhook = new Webhook(secret)
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      try {
        const headers = request.headers as Record<string, string>
        onEvent('webhook', webhook.verify(Buffer.concat(chunks).toString('utf8'), headers) as ResultEvent)
        response.writeHead(204).end()
      } catch {
        response.writeHead(401).end()
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}
