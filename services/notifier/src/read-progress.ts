import { randomUUID } from 'node:crypto'
import { readSharedEntry, signalrGroup, signalrStream } from '@sluice/progress'
import { type Clock, sleep } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import type { Redis } from 'ioredis'
import type { SignalRProgress } from './signalr-progress.ts'

const pageSize = 500
const blockMs = 1_000
const pauseMs = 500

/**
 * Reads the shared stream of progress for as long as the signal lets it. Entries are not acknowledged one by one: what a
 * killed notifier had in hand is lost, and its watchers catch up by `GET /v1/requests/{id}/events`.
 * @param connection blocks while the stream is empty, so it is nobody else's
 */
export async function readProgress(deps: {
  connection: Redis
  progress: SignalRProgress
  clock: Clock
  logger: Logger
  signal: AbortSignal
}): Promise<void> {
  const { connection, progress, clock, logger, signal } = deps
  const consumer = randomUUID()
  let failing = false
  while (!signal.aborted) {
    try {
      const page = (await connection.xreadgroup(
        ...(['GROUP', signalrGroup, consumer, 'COUNT', pageSize, 'BLOCK', blockMs, 'NOACK'] as const),
        ...(['STREAMS', signalrStream, '>'] as const),
      )) as [string, [string, string[]][]][] | null
      failing = false
      for (const [, entries] of page ?? []) {
        for (const [, fields] of entries) {
          const entry = readSharedEntry(fields)
          if (entry !== undefined) progress.push(entry)
        }
      }
    } catch (err) {
      if (signal.aborted) break
      // The first notifier, or the first one after Redis lost its memory: from here on, not from the beginning.
      const missing = err instanceof Error && err.message.startsWith('NOGROUP')
      if (missing && (await makeGroup(connection))) continue
      if (!failing) logger.warn({ err }, 'progress cannot be read')
      failing = true
      await sleep(pauseMs, { signal, clock }).catch(() => undefined)
    }
  }
  await connection.xgroup('DELCONSUMER', signalrStream, signalrGroup, consumer).catch(() => undefined)
}

async function makeGroup(connection: Redis): Promise<boolean> {
  try {
    await connection.xgroup('CREATE', signalrStream, signalrGroup, '$', 'MKSTREAM')
    return true
  } catch (error) {
    return error instanceof Error && error.message.startsWith('BUSYGROUP')
  }
}
