import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { complete } from '@sluice/messaging'
import { expect, onTestFinished, test } from 'vitest'
import { brokerConfig, eventually, heldHandlers, openBroker, openClients } from './messaging-fixture.ts'

const program = new URL('../../emulators/amqp/src/main.ts', import.meta.url).pathname

/** A broker in a process of its own, that can be killed and started again on the same port with the same data. */
function killableBroker(lockDuration: string) {
  const folder = mkdtempSync(join(tmpdir(), 'broker-'))
  const config = join(folder, 'service-bus.json')
  writeFileSync(config, JSON.stringify(brokerConfig(lockDuration)))
  let child: ChildProcess | undefined
  let port = 0
  const kill = async () => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  onTestFinished(async () => {
    await kill()
    rmSync(folder, { recursive: true })
  })
  return {
    kill,
    start: async (): Promise<string> => {
      const args = ['--port', `${port}`, '--data', join(folder, 'data'), '--service-bus-config', config]
      child = spawn(process.execPath, [program, ...args], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { EXIT_WITH_PARENT: '1' },
      })
      const [line] = (await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')) as [string]
      const ready = JSON.parse(line) as { port: number; SERVICE_BUS_CONNECTION_STRING: string }
      port = ready.port
      return ready.SERVICE_BUS_CONNECTION_STRING
    },
  }
}

test('no more messages are in flight than slots, through a reconnect', async () => {
  const broker = await openBroker()
  const handlers = heldHandlers()
  await broker.send(30)
  broker.loop({ slots: 6, handle: handlers.handle })
  await eventually(() => handlers.held.length === 6)
  await broker.fault({ kind: 'drop-connections' })
  // All slots are taken, so the new link has no credit: the other 24 messages are all there for somebody else.
  const other = broker.sdk.createReceiver('q', { receiveMode: 'receiveAndDelete' })
  let others = 0
  while (others < 20) others += (await other.receiveMessages(20 - others, { maxWaitTimeInMs: 5000 })).length
  handlers.finishAll()
  await eventually(() => handlers.held.length > 0)
  await eventually(async () => {
    handlers.finishAll()
    return (await broker.left()) === 0
  })
  expect(handlers.most).toBeLessThanOrEqual(6)
})

test('handlers that outlast several reconnects keep their locks and settle', async () => {
  const broker = await openBroker('PT3S')
  const handlers = heldHandlers()
  await broker.send(4)
  broker.loop({ slots: 4, handle: handlers.handle })
  await eventually(() => handlers.held.length === 4)
  const other = broker.sdk.createReceiver('q')
  for (let i = 0; i < 3; i++) {
    await broker.fault({ kind: 'drop-connections' })
    expect(await other.receiveMessages(1, { maxWaitTimeInMs: 1200 })).toEqual([])
  }
  expect(handlers.held.filter(({ signal }) => signal.aborted)).toEqual([])
  handlers.finishAll()
  await eventually(async () => (await broker.left()) === 0)
  await eventually(async () => (await broker.settled('complete')) === 4)
})

test('an idle loop receives again after a reconnect, also when it had been paused', async () => {
  const broker = await openBroker()
  const seen: string[] = []
  const loop = broker.loop({ handle: async ({ messageId }) => (seen.push(messageId), complete()) })
  await broker.send(1)
  await eventually(() => seen.length === 1)
  await broker.fault({ kind: 'drop-connections' })
  await broker.send(1)
  await eventually(() => seen.length === 2)
  await loop.pause()
  await broker.fault({ kind: 'drop-connections' })
  await broker.send(1)
  loop.resume()
  await eventually(() => seen.length === 3)
})

test('a broker that is killed and restarted loses nothing, and the outage is two log lines', async () => {
  const broker = killableBroker('PT5S')
  const { send, loop, lines } = openClients(await broker.start())
  const handled = new Set<string>()
  await send(200)
  const receiving = loop({
    slots: 8,
    handle: async ({ messageId }) => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      handled.add(messageId)
      return complete()
    },
  })
  await eventually(() => handled.size > 20)
  await broker.kill()
  await eventually(() =>
    receiving.check().then(
      () => false,
      () => true,
    ),
  )
  await broker.start()
  await eventually(() => handled.size === 200, 25_000)
  await receiving.check()
  const outage = lines.filter((line) => /cannot receive|receiving again/.test(line.msg)).map((line) => line.msg)
  expect(outage).toEqual(['cannot receive; trying again until it works', 'receiving again'])
})

test('a loop that starts before its broker waits for it', async () => {
  const broker = killableBroker('PT5S')
  const connectionString = await broker.start()
  await broker.kill()
  const { send, loop } = openClients(connectionString)
  const seen: string[] = []
  const waiting = loop({ handle: async ({ messageId }) => (seen.push(messageId), complete()) })
  await eventually(() =>
    waiting.check().then(
      () => false,
      (error: { code: string }) => error.code === 'queue_unavailable',
    ),
  )
  await broker.start()
  await send(1)
  await eventually(() => seen.length === 1, 20_000)
})

test('a drain while the broker is away ends in time', async () => {
  const broker = killableBroker('PT5S')
  const { send, loop } = openClients(await broker.start())
  const handlers = heldHandlers()
  await send(4)
  const draining = loop({ slots: 4, handle: handlers.handle })
  await eventually(() => handlers.held.length === 4)
  await broker.kill()
  const startMs = performance.now()
  await draining.drain(100)
  expect(draining.state).toBe('stopped')
  expect(performance.now() - startMs).toBeLessThan(8000)
  handlers.finishAll()
})
