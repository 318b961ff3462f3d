import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Announcement, ProcessSpec } from './supervised-process.ts'

const emulators = fileURLToPath(new URL('../../', import.meta.url))
const tether = fileURLToPath(new URL('tether.ts', import.meta.url))

/** The emulators' and services' form of saying that they are up: one JSON line with `ready: true`. */
function jsonReadyLine(line: string): Announcement | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    const value = JSON.parse(line) as Announcement
    return value.ready === true ? value : undefined
  } catch {
    return undefined
  }
}

/**
 * One of this folder's emulators as a process.
 * @param port 0 takes a free one. @param dataDir absent keeps everything in memory.
 */
export function emulatorProcess(
  name: 'amqp' | 'cosmos' | 'signalr' | 'openai',
  options: { port?: number; dataDir?: string | undefined; args?: string[] } = {},
): ProcessSpec {
  const data = options.dataDir === undefined ? [] : ['--data', folder(options.dataDir, name)]
  return {
    name,
    command: process.execPath,
    args: (port) => [
      join(emulators, name, 'src', 'main.ts'),
      ...['--port', String(port === 0 ? (options.port ?? 0) : port)],
      ...data,
      ...(options.args ?? []),
    ],
    readyLine: jsonReadyLine,
  }
}

/** Azurite's blob service, unmodified. */
export function azuriteProcess(options: { port?: number; dataDir?: string | undefined } = {}): ProcessSpec {
  const main = createRequire(import.meta.url).resolve('azurite/dist/src/blob/main.js')
  const data =
    options.dataDir === undefined ? ['--inMemoryPersistence'] : ['--location', folder(options.dataDir, 'azurite')]
  const flags = ['--blobHost', '127.0.0.1', '--silent', '--disableTelemetry', '--skipApiVersionCheck', ...data]
  return {
    name: 'azurite',
    command: process.execPath,
    args: (port) => [
      ...[tether, process.execPath, main, '--blobPort', String(port === 0 ? (options.port ?? 0) : port)],
      ...flags,
    ],
    readyLine: (line) => {
      const port = /successfully listens on http:\/\/[^:]+:(\d+)/.exec(line)?.[1]
      return port === undefined ? undefined : { port: Number(port) }
    },
  }
}

/** The connection string of Azurite's well-known development account. */
export function azuriteConnectionString(port: number, host = '127.0.0.1'): string {
  const key = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=='
  return `DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=${key};BlobEndpoint=http://${host}:${port}/devstoreaccount1;`
}

/** A redis-server as production wants it (AOF, noeviction); the port must be given, Redis takes no free one by itself. */
export function redisProcess(options: { port: number; dataDir?: string | undefined }): ProcessSpec {
  const data =
    options.dataDir === undefined
      ? ['--appendonly', 'no']
      : ['--appendonly', 'yes', '--appendfsync', 'everysec', '--dir', folder(options.dataDir, 'redis')]
  return {
    name: 'redis',
    command: process.execPath,
    args: () => [
      ...[tether, process.env.REDIS_SERVER ?? 'redis-server', '--port', String(options.port)],
      ...['--bind', '127.0.0.1', '--save', '', '--maxmemory-policy', 'noeviction', '--loglevel', 'notice', ...data],
    ],
    readyLine: (line) => (line.includes('Ready to accept connections') ? { port: options.port } : undefined),
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}

function folder(dataDir: string, name: string): string {
  const path = join(dataDir, name)
  mkdirSync(path, { recursive: true })
  return path
}
