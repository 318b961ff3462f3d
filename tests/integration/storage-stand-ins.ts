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
  cosmos: Cosmos
  blobs: Blobs
  /** Another client of the same database. */
  connect(): Cosmos
  stop(): Promise<void>
}

/** A Cosmos emulator and Azurite, both provisioned, and a client of each. */
export async function startStorage(): Promise<StandIns> {
  const [emulator, azurite] = await Promise.all([startCosmosEmulator({}), startAzurite()])
  const opened: Cosmos[] = []
  const connect = () => {
    const cosmos = connectCosmos({ endpoint: emulator.endpoint, key: emulator.key, database: 'sluice' })
    opened.push(cosmos)
    return cosmos
  }
  const cosmos = connect()
  const blobs = connectBlobs({ connectionString: azurite.connectionString, container: 'sluice' })
  await Promise.all([cosmos.provision(), blobs.provision()])
  return {
    cosmos,
    blobs,
    connect,
    stop: async () => {
      await Promise.all(opened.map((one) => one.close()))
      await Promise.all([emulator.close(), azurite.stop()])
    },
  }
}
