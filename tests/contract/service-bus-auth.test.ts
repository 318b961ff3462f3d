import { ServiceBusClient } from '@azure/service-bus'
import { EventHubProducerClient } from '@azure/event-hubs'
import { startAmqpEmulator, type AmqpEmulator } from '@sluice/emulator-amqp'
import { createHmac } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { failureCode } from './service-bus-namespace.ts'

const rules = [
  { KeyName: 'root', PrimaryKey: 'root-primary', SecondaryKey: 'root-secondary' },
  { KeyName: 'sender', PrimaryKey: 'sender-key', Rights: 'Send' },
  { KeyName: 'listener', PrimaryKey: 'listener-key', Rights: 'Listen' },
]
const serviceBusConfig = {
  UserConfig: { Namespaces: [{ Name: 'ns', Queues: [{ Name: 'q' }, { Name: 'other' }], AuthorizationRules: rules }] },
}
const eventHubsConfig = {
  UserConfig: {
    NamespaceConfig: [
      {
        Name: 'ns',
        Entities: [{ Name: 'hub', PartitionCount: 1 }],
        AuthorizationRules: [{ KeyName: 'hub-key', PrimaryKey: 'hub-secret' }],
      },
    ],
  },
}
const retryOptions = { maxRetries: 0, timeoutInMs: 5000 }

let emulator: AmqpEmulator
const clients: { close(): Promise<void> }[] = []
beforeAll(async () => void (emulator = await startAmqpEmulator({ serviceBusConfig, eventHubsConfig })))
afterEach(async () => void (await Promise.all(clients.splice(0).map((client) => client.close()))))
afterAll(() => emulator.close())

const connect = (credentials: string): ServiceBusClient => {
  const client = new ServiceBusClient(
    `Endpoint=sb://localhost:${emulator.port};${credentials};UseDevelopmentEmulator=true`,
    { retryOptions },
  )
  clients.push(client)
  return client
}
const withKey = (name: string, key: string) => connect(`SharedAccessKeyName=${name};SharedAccessKey=${key}`)

const withSignature = (resource: string, expirySeconds: number, key = 'root-primary') => {
  const encoded = encodeURIComponent(resource)
  const signature = createHmac('sha256', key).update(`${encoded}\n${expirySeconds}`).digest('base64')
  return connect(
    `SharedAccessSignature=SharedAccessSignature sr=${encoded}&sig=${encodeURIComponent(signature)}&se=${expirySeconds}&skn=root`,
  )
}
const inAnHour = () => Math.floor(Date.now() / 1000) + 3600
const send = (client: ServiceBusClient, queue = 'q') =>
  failureCode(client.createSender(queue).sendMessages({ body: 1 }))
const receive = (client: ServiceBusClient, queue = 'q') =>
  failureCode(client.createReceiver(queue).receiveMessages(1, { maxWaitTimeInMs: 50 }))

describe('when the configuration names keys', () => {
  test('the connection string that the emulator hands out works', async () => {
    const client = new ServiceBusClient(emulator.serviceBusConnectionString, { retryOptions })
    clients.push(client)
    expect(await send(client)).toBe('no error')
    expect(await receive(client)).toBe('no error')
  })

  test('primary and secondary keys are accepted, a wrong key and an unknown name are not', async () => {
    expect(await send(withKey('root', 'root-primary'))).toBe('no error')
    expect(await send(withKey('root', 'root-secondary'))).toBe('no error')
    expect(await send(withKey('root', 'wrong'))).toBe('UnauthorizedAccess')
    expect(await send(withKey('nobody', 'root-primary'))).toBe('UnauthorizedAccess')
  })

  test('rights are kept to', async () => {
    expect(await send(withKey('sender', 'sender-key'))).toBe('no error')
    expect(await receive(withKey('sender', 'sender-key'))).toBe('UnauthorizedAccess')
    expect(await receive(withKey('listener', 'listener-key'))).toBe('no error')
    expect(await send(withKey('listener', 'listener-key'))).toBe('UnauthorizedAccess')
  })

  test('a signature is good for its resource and its time', async () => {
    const host = `sb://localhost:${emulator.port}`
    expect(await send(withSignature(`${host}/q`, inAnHour()))).toBe('no error')
    expect(await send(withSignature(`${host}/q`, inAnHour()), 'other')).toBe('UnauthorizedAccess')
    expect(await send(withSignature(`${host}/`, inAnHour()), 'other')).toBe('no error')
    expect(await send(withSignature(`${host}/q`, Math.floor(Date.now() / 1000) - 10))).toBe('UnauthorizedAccess')
    expect(await send(withSignature(`${host}/q`, inAnHour(), 'forged'))).toBe('UnauthorizedAccess')
  })

  test('Event Hubs has keys of its own', async () => {
    const producer = (name: string, key: string) => {
      const client = new EventHubProducerClient(
        `Endpoint=sb://localhost:${emulator.port};SharedAccessKeyName=${name};SharedAccessKey=${key};UseDevelopmentEmulator=true`,
        'hub',
        { retryOptions },
      )
      clients.push(client)
      return client
    }
    expect(await failureCode(producer('hub-key', 'hub-secret').sendBatch([{ body: 1 }]))).toBe('no error')
    expect(await failureCode(producer('hub-key', 'wrong').sendBatch([{ body: 1 }]))).toBe('UnauthorizedError')
  })
})

test('without keys in the configuration any key will do', async () => {
  const open = await startAmqpEmulator({
    serviceBusConfig: { UserConfig: { Namespaces: [{ Queues: [{ Name: 'q' }] }] } },
  })
  const client = new ServiceBusClient(
    `Endpoint=sb://localhost:${open.port};SharedAccessKeyName=any;SharedAccessKey=thing;UseDevelopmentEmulator=true`,
    { retryOptions },
  )
  expect(await send(client)).toBe('no error')
  await client.close()
  await open.close()
})
