import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { ServiceBusClient } from '@azure/service-bus'
import { expect, test } from 'vitest'

const main = fileURLToPath(new URL('../../emulators/host/src/main.ts', import.meta.url))

test('npm run emulators: one line of connection strings, ready, and nothing left after SIGTERM', async () => {
  const child = spawn(process.execPath, [main, '--all'], { stdio: ['ignore', 'pipe', 'ignore'] })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const lines: string[] = []
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line)
      if (line === 'ready') resolve()
    })
    child.once('exit', () => reject(new Error('it exited')))
  })
  const env = JSON.parse(lines[0] ?? '') as Record<string, string>
  for (const name of [
    'SERVICE_BUS_CONNECTION_STRING',
    'EVENT_HUBS_CONNECTION_STRING',
    'AZURE_STORAGE_CONNECTION_STRING',
    'COSMOS_ENDPOINT',
    'COSMOS_KEY',
    'REDIS_URL',
    'SIGNALR_CONNECTION_STRING',
    'OPENAI_TWIN_URL',
  ]) {
    expect(env[name], name).toBeTruthy()
  }
  expect(lines).toEqual([lines[0], 'ready'])
  const client = new ServiceBusClient(env.SERVICE_BUS_CONNECTION_STRING ?? '')
  await client.createSender('requests-standard').sendMessages({ body: 'hello' })
  await client.close()
  child.kill('SIGTERM')
  expect(await exited).toBe(0)
})
