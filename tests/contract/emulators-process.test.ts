import { EventHubProducerClient } from '@azure/event-hubs'
import { ServiceBusAdministrationClient, ServiceBusClient } from '@azure/service-bus'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

// `npm run emulators` as somebody meets it who has the Config.json files of Microsoft's emulators. The samples have
// the shape of their documentation: every documented property and rule, empty forwards, a partition count in quotes.

const pathTo = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))
const main = pathTo('../../emulators/host/src/main.ts')
const serviceBusConfig = pathTo('samples/service-bus-config.json')
const eventHubsConfig = pathTo('samples/event-hubs-config.json')

type Ready = Record<string, string> & { control: Record<string, string> }

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

let directory: string
beforeAll(async () => void (directory = await mkdtemp(join(tmpdir(), 'sluice-emulators-'))))
afterAll(() => rm(directory, { recursive: true, force: true }))

describe('the emulators side by side', () => {
  let supervisor: ChildProcess
  let ready: Ready
  let lines: string[]
  let port: number
  let client: ServiceBusClient

  beforeAll(async () => {
    const faults = join(directory, 'faults.json')
    await writeFile(faults, JSON.stringify([{ at_ms: 0, faults: [{ type: 'status', status: 500, count: 1 }] }]))
    port = await freePort()
    const args = ['--service-bus-config', serviceBusConfig, '--event-hubs-config', eventHubsConfig]
    args.push('--port', String(port), '--data', join(directory, 'data'))
    args.push('--openai-faults', faults, '--certificate', join(directory, 'certificate.pem'))
    supervisor = spawn(process.execPath, [main, ...args], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...process.env, EXIT_WITH_PARENT: '1' },
    })
    lines = []
    for await (const line of createInterface(supervisor.stdout!)) {
      lines.push(line)
      if (line === 'ready') break
    }
    ready = JSON.parse(lines[0] ?? '') as Ready
    client = new ServiceBusClient(ready['SERVICE_BUS_CONNECTION_STRING'] ?? '')
  }, 60_000)
  afterAll(async () => {
    await client.close()
    supervisor.kill('SIGTERM')
    await once(supervisor, 'exit')
  })

  test('print one line with every address, then ready', () => {
    expect(lines.length).toBe(2)
    const { control, ...connections } = ready
    expect(Object.keys(connections).sort()).toEqual([
      'COSMOS_ENDPOINT',
      'COSMOS_KEY',
      'EVENT_HUBS_CONNECTION_STRING',
      'OPENAI_TWIN_URL',
      'SERVICE_BUS_ADMINISTRATION_CONNECTION_STRING',
      'SERVICE_BUS_CONNECTION_STRING',
      'SIGNALR_CONNECTION_STRING',
    ])
    expect(ready['SERVICE_BUS_CONNECTION_STRING']).toContain(`localhost:${port};`)
    expect(Object.keys(control).sort()).toEqual(['amqp', 'cosmos', 'openai', 'signalr'])
  })

  test('every control API answers with its state', async () => {
    for (const control of Object.values(ready.control)) expect((await fetch(`${control}/state`)).status).toBe(200)
  })

  test('the sample’s rules and actions are in force', async () => {
    await client.createSender('topic.1').sendMessages([
      { body: 'sql', messageId: '123456', applicationProperties: { userProp1: 'value1' } },
      { body: 'property', applicationProperties: { prop1: 'value1' } },
      {
        body: 'system',
        contentType: 'application/text',
        correlationId: 'id1',
        subject: 'subject1',
        messageId: 'msgid1',
        replyTo: 'someQueue',
        replyToSessionId: 'sessionId',
        sessionId: 'session1',
        to: 'xyz',
      },
    ])
    const received = async (subscription: string, count: number) => {
      const receiver = client.createReceiver('topic.1', subscription, { receiveMode: 'receiveAndDelete' })
      const messages = []
      while (messages.length < count)
        messages.push(...(await receiver.receiveMessages(count, { maxWaitTimeInMs: 300 })))
      expect(await receiver.peekMessages(1)).toEqual([])
      return messages.map(({ body, to }) => [body as string, to])
    }
    expect(await received('subscription.1', 1)).toEqual([['system', 'xyz']])
    expect(await received('subscription.2', 1)).toEqual([['property', undefined]])
    expect((await received('subscription.3', 3)).length).toBe(3)
    expect(await received('subscription.4', 1)).toEqual([['sql', 'Entity']])
  })

  test('the certificate in the file makes the administration API trusted', async () => {
    const ca = await readFile(join(directory, 'certificate.pem'), 'utf8')
    const connectionString = ready['SERVICE_BUS_ADMINISTRATION_CONNECTION_STRING'] ?? ''
    const admin = new ServiceBusAdministrationClient(connectionString, { tlsOptions: { ca } })
    expect(await admin.getQueue('queue.1')).toMatchObject({ lockDuration: 'PT1M', maxDeliveryCount: 3 })
  })

  test('a partition count in quotes is one', async () => {
    const producer = new EventHubProducerClient(ready['EVENT_HUBS_CONNECTION_STRING'] ?? '', 'eh1')
    expect(await producer.getPartitionIds()).toEqual(['0', '1'])
    await producer.close()
  })

  test('the fault script of the command line is carried out', async () => {
    const ask = async () => {
      const response = await fetch(`${ready['OPENAI_TWIN_URL']}/r/swedencentral/openai/v1/chat/completions`, {
        method: 'POST',
        headers: { 'api-key': 'twin-key-swedencentral', 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'gpt-mini-sdc', messages: [{ role: 'user', content: 'Hello' }] }),
      })
      return response.status
    }
    expect([await ask(), await ask()]).toEqual([500, 200])
  })
})

describe('mistakes on the command line are sentences', () => {
  const failing = async (...args: string[]) =>
    promisify(execFile)(process.execPath, [main, ...args], { timeout: 30_000 }).then(
      () => ({ code: 0, stderr: '' }),
      (error: { code: number; stderr: string }) => error,
    )

  test.each([
    [['--port', 'abc'], '--port must be a whole number up to 65535, not abc', 2],
    [['--colour'], "Unknown option '--colour'", 2],
    [['--service-bus-config', '/nowhere.json'], '/nowhere.json: ENOENT', 1],
  ])('%j', async (args, sentence, exitCode) => {
    const { code, stderr } = await failing(...args)
    expect(stderr).toContain(sentence)
    expect(stderr).not.toMatch(/^\s+at /m)
    expect(code).toBe(exitCode)
  })

  test('a wrong configuration names the place, and is not tried again', async () => {
    const file = join(directory, 'wrong.json')
    const Queues = [{ Name: 'q', Properties: { LockDuration: 5 } }]
    await writeFile(file, JSON.stringify({ UserConfig: { Namespaces: [{ Name: 'n', Queues }] } }))
    const { code, stderr } = await failing('--service-bus-config', file)
    expect(stderr.split('Queues[0].Properties.LockDuration must be a text').length).toBe(2)
    expect(code).toBe(1)
  })
})
