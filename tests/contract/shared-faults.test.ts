import { ServiceBusClient } from '@azure/service-bus'
import { startAmqpEmulator } from '@sluice/emulator-amqp'
import { startCosmosEmulator } from '@sluice/emulator-cosmos'
import { startSignalREmulator } from '@sluice/emulator-signalr'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect } from './cosmos-account.ts'
import { startTwin } from './openai-twin.ts'
import { configOf, eventually } from './service-bus-namespace.ts'
import { event, startSignalRApp } from './signalr-app.ts'

/** One emulator, seen through an ordinary call of its SDK. */
type Target = {
  control: string
  /** Fails when the emulator refuses. */
  call(): Promise<unknown>
  /** What says in the error that the call was throttled. */
  throttled: object
  /** Resolves when something that was open has been cut. */
  cut(drop: () => Promise<unknown>): Promise<void>
  close(): Promise<void>
}

const serviceBus = async (): Promise<Target> => {
  const emulator = await startAmqpEmulator({ serviceBusConfig: configOf({ queues: { q: {} } }) })
  const client = new ServiceBusClient(emulator.serviceBusConnectionString, {
    retryOptions: { maxRetries: 0, timeoutInMs: 10_000 },
  })
  const sender = client.createSender('q')
  const connections = async () => {
    const state = await fetch(`http://127.0.0.1:${emulator.controlPort}/_control/state`)
    return ((await state.json()) as { connections: number }).connections
  }
  return {
    control: `http://127.0.0.1:${emulator.controlPort}/_control`,
    call: () => sender.sendMessages({ body: 1 }),
    throttled: { code: 'ServiceBusy' },
    cut: async (drop) => {
      await sender.sendMessages({ body: 1 })
      expect(await connections()).toBe(1)
      await drop()
      await eventually(async () => (await connections()) === 0)
    },
    close: async () => {
      await client.close()
      await emulator.close()
    },
  }
}

const cosmos = async (): Promise<Target> => {
  const emulator = await startCosmosEmulator()
  const client = connect(emulator.endpoint, emulator.key)
  const { database } = await client.databases.createIfNotExists({ id: 'db' })
  return {
    control: `${emulator.endpoint}_control`,
    call: () => database.read(),
    throttled: { code: 429 },
    cut: async (drop) => {
      await fetch(`${emulator.endpoint}_control/faults`, {
        method: 'POST',
        body: JSON.stringify({ kind: 'delay', delayMs: 60_000, count: 1 }),
      })
      // Not through the SDK, which reads again when a connection is cut.
      const reading = expect(fetch(emulator.endpoint)).rejects.toThrow()
      const faultsLeft = async () => {
        const state = await fetch(`${emulator.endpoint}_control/state`)
        return ((await state.json()) as { faults: unknown[] }).faults.length
      }
      await eventually(async () => (await faultsLeft()) === 0)
      await drop()
      await reading
    },
    close: async () => {
      client.dispose()
      await emulator.close()
    },
  }
}

const signalR = async (): Promise<Target> => {
  const emulator = await startSignalREmulator()
  const app = await startSignalRApp(emulator.connectionString)
  return {
    control: `${app.url}/_control`,
    call: async () => {
      const { status } = await app.call('POST', '/api/hubs/chat/:send', { body: event() })
      if (status !== 202) throw Object.assign(new Error('refused'), { status })
    },
    throttled: { status: 429 },
    cut: async (drop) => {
      const client = await app.connect({ hub: 'chat' })
      await drop()
      await client.closed
    },
    close: async () => {
      await app.close()
      await emulator.close()
    },
  }
}

const openAI = async (): Promise<Target> => {
  const under = await startTwin([
    { name: 'chat', model: 'gpt-4.1' },
    { name: 'slow', model: 'gpt-4.1', latency: { first_token_ms: 60_000 } },
  ])
  const ask = (model: string) =>
    under.openai.chat.completions.create({ model, messages: [{ role: 'user', content: 'Hello' }] })
  return {
    control: `${under.twin.url}/_control`,
    call: () => ask('chat'),
    throttled: { status: 429 },
    cut: async (drop) => {
      const asking = expect(ask('slow')).rejects.toThrow('Connection error.')
      await eventually(async () => ((await under.control('GET', 'state')).open_calls ?? 0) > 0)
      await drop()
      await asking
    },
    close: () => under.close(),
  }
}

describe.each([
  ['Service Bus', serviceBus],
  ['Cosmos DB', cosmos],
  ['SignalR', signalR],
  ['OpenAI', openAI],
])('%s understands the faults that all emulators share', (_name, start) => {
  let target: Target
  beforeAll(async () => void (target = await start()))
  afterAll(() => target.close())

  const add = async (body: unknown): Promise<number> => {
    const { status } = await fetch(`${target.control}/faults`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return status
  }

  test('drop-connections cuts what is open, once', async () => {
    await target.cut(async () => expect(await add({ kind: 'drop-connections' })).toBe(200))
    await target.call()
  })

  test('refuse fails as many calls as it counts', async () => {
    expect(await add({ kind: 'refuse', count: 1 })).toBe(200)
    await expect(target.call()).rejects.toThrow()
    await target.call()
  })

  test('throttle says so', async () => {
    expect(await add([{ kind: 'throttle', count: 1 }])).toBe(200)
    await expect(target.call()).rejects.toMatchObject(target.throttled)
    await target.call()
  })

  test('delay holds a call back', async () => {
    expect(await add({ faults: [{ kind: 'delay', delayMs: 150, count: 1 }] })).toBe(200)
    const startedAt = performance.now()
    await target.call()
    expect(performance.now() - startedAt).toBeGreaterThan(140)
  })

  test('what was added ends when it is deleted, and nonsense is a 400', async () => {
    expect(await add({ kind: 'refuse' })).toBe(200)
    expect((await fetch(`${target.control}/faults`, { method: 'DELETE' })).ok).toBe(true)
    await target.call()
    expect(await add({ kind: 'explode' })).toBe(400)
    expect(await add({ kind: 'delay' })).toBe(400)
  })

  test('lose-locks is for what has locks', async () => {
    expect(await add({ kind: 'lose-locks' })).toBe(_name === 'Service Bus' ? 200 : 400)
  })
})
