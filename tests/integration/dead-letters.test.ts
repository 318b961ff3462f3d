import { ServiceBusClient } from '@azure/service-bus'
import { startAmqpEmulator } from '@sluice/emulator-amqp'
import { startCosmosEmulator } from '@sluice/emulator-cosmos'
import { platformConfigSchema } from '@sluice/contracts'
import { createLedger, createOutbox } from '@sluice/ledger'
import { connectServiceBus, createSender } from '@sluice/messaging'
import { systemClock } from '@sluice/resilience'
import { connectCosmos } from '@sluice/storage'
import { createLogger, createMetrics } from '@sluice/telemetry'
import { expect, test } from 'vitest'
import { watchDeadLetters } from '../../services/router-worker/src/dead-letters.ts'

const entities = {
  UserConfig: {
    Namespaces: [
      {
        Name: 'ns',
        Queues: [{ Name: 'lane', Properties: { MaxDeliveryCount: 1 } }],
        Topics: [{ Name: 'results', Properties: {}, Subscriptions: [{ Name: 'all', Properties: {} }] }],
      },
    ],
  },
}
const platform = platformConfigSchema.parse({
  version: 1,
  routing: { thresholds: { medium: 0.4, large: 0.7 } },
  deployments: [
    {
      name: 'a',
      model: 'm',
      region: 'r',
      endpoint: 'https://a',
      api_key: 'k',
      quota: { tokens_per_minute: 1, requests_per_minute: 1 },
      price: { input: 1, output: 1 },
    },
  ],
  lanes: { lane: { tenants: '*', default_tenant: 'contoso', share: 1 } },
  batches: { tenants: '*' },
})

test('what the broker gave up on is answered as failed, once, and stays for the operator', async () => {
  const amqp = await startAmqpEmulator({ serviceBusConfig: entities })
  const cosmosEmulator = await startCosmosEmulator({})
  const logger = createLogger({ service: 'test', level: 'silent' })
  const metrics = createMetrics('test')
  const cosmos = connectCosmos({ endpoint: cosmosEmulator.endpoint, key: cosmosEmulator.key, database: 'sluice' })
  const user = new ServiceBusClient(amqp.serviceBusConnectionString)
  const serviceBus = connectServiceBus({ connectionString: amqp.serviceBusConnectionString }, { logger })
  const blobs = { put: () => Promise.reject(new Error('nothing large here')) } as never
  const ledger = createLedger({ cosmos, blobs, clock: systemClock, logger, metrics, owner: 'test' })
  const results = createSender(serviceBus, 'results')
  const outbox = createOutbox({ topic: results, ledger })
  const watch = watchDeadLetters({
    serviceBus,
    platform,
    ledger,
    outbox,
    clock: systemClock,
    logger,
    metrics,
    intervalMs: 60_000,
  })
  try {
    await cosmos.provision()
    const line = {
      custom_id: 'gave-up',
      method: 'POST',
      url: '/v1/chat/completions',
      body: { messages: [{ role: 'user', content: 'hi' }] },
      sluice: { deliver: [{ type: 'event-hubs' }] },
    }
    const sender = user.createSender('lane')
    await sender.sendMessages([
      { body: line, messageId: 'gave-up' },
      { body: Buffer.from('no line'), messageId: 'unreadable' },
    ])
    const receiver = user.createReceiver('lane')
    for (let left = 2; left > 0;) {
      const messages = await receiver.receiveMessages(2, { maxWaitTimeInMs: 10_000 })
      for (const message of messages) await receiver.abandonMessage(message)
      left -= messages.length
      if (messages.length === 0) throw new Error('the messages did not come')
    }
    await watch.look()
    await watch.look()

    const all = user.createReceiver('results', 'all')
    const [event] = await all.receiveMessages(5, { maxWaitTimeInMs: 5000 })
    expect(event?.body).toMatchObject({
      type: 'sluice.request.failed',
      source: '/sluice/contoso',
      data: { custom_id: 'gave-up', error: { code: 'poison' } },
    })
    expect(event?.applicationProperties).toMatchObject({ sink_event_hubs: true, sink_webhook: false })
    expect(await all.peekMessages(5)).toHaveLength(1)
    const letters = await user.createReceiver('lane', { subQueueType: 'deadLetter' }).peekMessages(5)
    expect(letters.map(({ messageId }) => String(messageId)).sort()).toEqual(['gave-up', 'unreadable'])
    expect(/^sluice_dead_letters\{.*\} \d+$/m.exec((await metrics.render()).text)?.[0]).toMatch(/ 2$/)
  } finally {
    await watch.stop()
    await ledger.close()
    await results.close()
    await serviceBus.close()
    await user.close()
    await cosmos.close()
    await cosmosEmulator.close()
    await amqp.close()
  }
})
