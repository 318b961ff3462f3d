import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { startCosmosEmulator } from '@sluice/emulator-cosmos'
import { type Blobs, connectBlobs, connectCosmos, type Cosmos } from '@sluice/storage'

// The account that Azurite and every Azure SDK know.
const account = 'devstoreaccount1'
const accountKey = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='

/** Runs Azurite's blob service in memory; it outlives a killed parent, so every test that starts it must stop it. */
export async function startAzurite(): Promise<{ connectionString: string; stop(): Promise<void> }> {
  const main = 'node_modules/azurite/dist/src/blob/main.js'
  const options = ['--blobHost', '127.0.0.1', '--blobPort', '0', '--silent', '--disableTelemetry']
  const child = spawn(process.execPath, [main, ...options, '--skipApiVersionCheck', '--inMemoryPersistence'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const port = await portOf(child)
  return {
    connectionString:
      `DefaultEndpointsProtocol=http;AccountName=${account};AccountKey=${accountKey};` +
      `BlobEndpoint=http://127.0.0.1:${port}/${account};`,
    stop: async () => {
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    },
  }
}

async function portOf(child: ChildProcess): Promise<number> {
  if (child.stdout === null) throw new Error('Azurite has no output')
  for await (const line of createInterface({ input: child.stdout })) {
    const port = /successfully listens on http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1]
    if (port !== undefined) {
      child.stdout.resume()
      return Number(port)
    }
  }
  throw new Error('Azurite ended before it listened')
}

export interface StandIns {
  blobs: Blobs
  /** A client of a new, provisioned database. */
  database(): Promise<Cosmos>
  /** What the next requests to Cosmos meet; see the emulator's control API. */
  fault(fault: object): Promise<void>
  /** Ends every fault. */
  heal(): Promise<void>
  stop(): Promise<void>
}

/** A Cosmos emulator and Azurite. */
export async function startStorage(): Promise<StandIns> {
  const [emulator, azurite] = await Promise.all([startCosmosEmulator({}), startAzurite()])
  const faults = new URL('/_control/faults', emulator.endpoint)
  const opened: Cosmos[] = []
  const blobs = connectBlobs({ connectionString: azurite.connectionString, container: 'sluice' })
  await blobs.provision()
  return {
    blobs,
    database: async () => {
      const { endpoint, key } = emulator
      const cosmos = connectCosmos({ endpoint, key, database: `test-${opened.length}` })
      opened.push(cosmos)
      await cosmos.provision()
      return cosmos
    },
    fault: async (fault) => {
      const answer = await fetch(faults, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(fault),
      })
      if (!answer.ok) throw new Error(`the emulator refused a fault: ${answer.status} ${await answer.text()}`)
    },
    heal: async () => {
      await fetch(faults, { method: 'DELETE' })
    },
    stop: async () => {
      await Promise.all(opened.map((one) => one.close()))
      await Promise.all([emulator.close(), azurite.stop()])
    },
  }
}
