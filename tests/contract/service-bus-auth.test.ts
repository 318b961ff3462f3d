import { ServiceBusAdministrationClient, ServiceBusClient } from '@azure/service-bus'
import { EventHubProducerClient } from '@azure/event-hubs'
import { startAmqpEmulator } from '@sluice/emulator-amqp'
import { createHmac, randomBytes, randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { realAzure } from './real-azure.ts'
import { failureCode, onAzure } from './service-bus-namespace.ts'

// The service takes keys of 32 bytes only.
const newKey = () => randomBytes(32).toString('base64')
const retryOptions = { maxRetries: 0, timeoutInMs: 5000 }

type Rule = { KeyName: string; PrimaryKey: string; SecondaryKey: string; Rights: 'Send' | 'Listen' }
const sender: Rule = { KeyName: 'sender', PrimaryKey: newKey(), SecondaryKey: newKey(), Rights: 'Send' }
const listener: Rule = { KeyName: 'listener', PrimaryKey: newKey(), SecondaryKey: newKey(), Rights: 'Listen' }
const hubKey = newKey()

/** A namespace with two queues, a root key, and keys that may only send to or receive from the queue `q`. */
type Target = {
  connectionString: string
  endpoint: string
  root: { name: string; key: string }
  /** What a connection string ends with. */
  flags: string
  queues: { q: string; other: string }
  close(): Promise<void>
}

const field = (connectionString: string, name: string): string =>
  new RegExp(`(?:^|;)${name}=([^;]+)`, 'i').exec(connectionString)?.[1] ?? ''
const partsOf = (connectionString: string) => ({
  connectionString,
  endpoint: field(connectionString, 'Endpoint').replace(/\/$/, ''),
  root: { name: field(connectionString, 'SharedAccessKeyName'), key: field(connectionString, 'SharedAccessKey') },
})

const openEmulator = async (): Promise<Target> => {
  const root = { KeyName: 'root', PrimaryKey: newKey() }
  const emulator = await startAmqpEmulator({
    serviceBusConfig: {
      UserConfig: {
        Namespaces: [
          { Name: 'ns', Queues: [{ Name: 'q' }, { Name: 'other' }], AuthorizationRules: [root, sender, listener] },
        ],
      },
    },
    eventHubsConfig: {
      UserConfig: {
        NamespaceConfig: [
          {
            Name: 'ns',
            Entities: [{ Name: 'hub', PartitionCount: 1 }],
            AuthorizationRules: [{ KeyName: 'hub-key', PrimaryKey: hubKey }],
          },
        ],
      },
    },
  })
  return {
    ...partsOf(emulator.serviceBusConnectionString),
    flags: ';UseDevelopmentEmulator=true',
    queues: { q: 'q', other: 'other' },
    close: () => emulator.close(),
  }
}

const openOnAzure = async (connectionString: string): Promise<Target> => {
  const admin = new ServiceBusAdministrationClient(connectionString)
  const prefix = `contract-${randomUUID().slice(0, 8)}-`
  const queues = { q: `${prefix}q`, other: `${prefix}other` }
  await admin.createQueue(queues.q, {
    authorizationRules: [sender, listener].map(({ KeyName, PrimaryKey, SecondaryKey, Rights }) => ({
      claimType: 'SharedAccessKey',
      keyName: KeyName,
      primaryKey: PrimaryKey,
      secondaryKey: SecondaryKey,
      accessRights: [Rights],
    })),
  })
  await admin.createQueue(queues.other)
  return {
    ...partsOf(connectionString),
    flags: '',
    queues,
    close: async () => {
      for (const queue of Object.values(queues)) await admin.deleteQueue(queue)
    },
  }
}

let target: Target
const clients: { close(): Promise<void> }[] = []
beforeAll(
  async () =>
    void (target = await (realAzure.serviceBus === undefined ? openEmulator() : openOnAzure(realAzure.serviceBus))),
)
afterEach(async () => void (await Promise.all(clients.splice(0).map((client) => client.close()))))
afterAll(() => target.close())

const connect = (credentials: string): ServiceBusClient => {
  const client = new ServiceBusClient(`Endpoint=${target.endpoint};${credentials}${target.flags}`, { retryOptions })
  clients.push(client)
  return client
}
const withKey = (name: string, key: string) => connect(`SharedAccessKeyName=${name};SharedAccessKey=${key}`)

const withSignature = (resource: string, expirySeconds: number, key = target.root.key) => {
  const encoded = encodeURIComponent(resource)
  const signature = createHmac('sha256', key).update(`${encoded}\n${expirySeconds}`).digest('base64')
  return connect(
    `SharedAccessSignature=SharedAccessSignature sr=${encoded}&sig=${encodeURIComponent(signature)}&se=${expirySeconds}&skn=${target.root.name}`,
  )
}
const inAnHour = () => Math.floor(Date.now() / 1000) + 3600
const send = (client: ServiceBusClient, queue = target.queues.q) =>
  failureCode(client.createSender(queue).sendMessages({ body: 1 }))
const receive = (client: ServiceBusClient, queue = target.queues.q) =>
  failureCode(client.createReceiver(queue).receiveMessages(1, { maxWaitTimeInMs: 50 }))

describe('when there are keys', () => {
  test('the connection string works', async () => {
    const client = new ServiceBusClient(target.connectionString, { retryOptions })
    clients.push(client)
    expect(await send(client)).toBe('no error')
    expect(await receive(client)).toBe('no error')
  })

  test('primary and secondary keys are accepted, a wrong key and an unknown name are not', async () => {
    expect(await send(withKey('sender', sender.PrimaryKey))).toBe('no error')
    expect(await send(withKey('sender', sender.SecondaryKey))).toBe('no error')
    expect(await send(withKey('sender', newKey()))).toBe('UnauthorizedAccess')
    expect(await send(withKey('nobody', sender.PrimaryKey))).toBe('UnauthorizedAccess')
  })

  test('rights are kept to', async () => {
    expect(await send(withKey('sender', sender.PrimaryKey))).toBe('no error')
    expect(await receive(withKey('sender', sender.PrimaryKey))).toBe('UnauthorizedAccess')
    expect(await receive(withKey('listener', listener.PrimaryKey))).toBe('no error')
    expect(await send(withKey('listener', listener.PrimaryKey))).toBe('UnauthorizedAccess')
  })

  test('a signature is good for its resource and its time', async () => {
    const { endpoint, queues } = target
    expect(await send(withSignature(`${endpoint}/${queues.q}`, inAnHour()))).toBe('no error')
    expect(await send(withSignature(`${endpoint}/${queues.q}`, inAnHour()), queues.other)).toBe('UnauthorizedAccess')
    expect(await send(withSignature(`${endpoint}/`, inAnHour()), queues.other)).toBe('no error')
    const past = Math.floor(Date.now() / 1000) - 10
    expect(await send(withSignature(`${endpoint}/${queues.q}`, past))).toBe('UnauthorizedAccess')
    expect(await send(withSignature(`${endpoint}/${queues.q}`, inAnHour(), newKey()))).toBe('UnauthorizedAccess')
  })
})

describe.skipIf(onAzure)('what the configuration names', () => {
  test('Event Hubs has keys of its own', async () => {
    const producer = (name: string, key: string) => {
      const client = new EventHubProducerClient(
        `Endpoint=${target.endpoint};SharedAccessKeyName=${name};SharedAccessKey=${key};UseDevelopmentEmulator=true`,
        'hub',
        { retryOptions },
      )
      clients.push(client)
      return client
    }
    expect(await failureCode(producer('hub-key', hubKey).sendBatch([{ body: 1 }]))).toBe('no error')
    expect(await failureCode(producer('hub-key', newKey()).sendBatch([{ body: 1 }]))).toBe('UnauthorizedError')
  })

  test('without keys any key will do', async () => {
    const open = await startAmqpEmulator({
      serviceBusConfig: { UserConfig: { Namespaces: [{ Queues: [{ Name: 'q' }] }] } },
    })
    const client = new ServiceBusClient(
      `Endpoint=sb://localhost:${open.port};SharedAccessKeyName=any;SharedAccessKey=thing;UseDevelopmentEmulator=true`,
      { retryOptions },
    )
    expect(await send(client, 'q')).toBe('no error')
    await client.close()
    await open.close()
  })
})
