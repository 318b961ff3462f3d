import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'

export interface PrivateRedis {
  client: Redis
  /** Another connection to the same server, closed with it. */
  connect(): Redis
  /** Ends the server as SIGKILL does; what it held is lost. */
  kill(): Promise<void>
  /** Starts it again on the same socket, empty. */
  restart(): Promise<void>
  close(): Promise<void>
}

/** A redis-server of one's own on a unix socket, without persistence. */
export async function startPrivateRedis(): Promise<PrivateRedis> {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-redis-'))
  const socket = join(directory, 'redis.sock')
  const clients: Redis[] = []
  let server = start(socket)

  const connect = (): Redis => {
    const client = new Redis({ path: socket, maxRetriesPerRequest: 1, retryStrategy: () => 20 })
    // Failures are what some tests are about; they see them in their own calls.
    client.on('error', () => undefined)
    clients.push(client)
    return client
  }
  const kill = async (): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return
    const gone = new Promise((resolve) => server.once('exit', resolve))
    server.kill('SIGKILL')
    await gone
  }
  const client = connect()
  await answering(client)
  return {
    client,
    connect,
    kill,
    async restart() {
      server = start(socket)
      await answering(client)
    },
    async close() {
      for (const one of clients) one.disconnect()
      await kill()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

const start = (socket: string): ChildProcess =>
  spawn('redis-server', ['--port', '0', '--unixsocket', socket, '--save', '', '--appendonly', 'no'], {
    stdio: 'ignore',
  })

async function answering(client: Redis): Promise<void> {
  const deadline = Date.now() + 10_000
  for (;;) {
    try {
      await client.ping()
      return
    } catch (error) {
      if (Date.now() > deadline) throw error
    }
  }
}
