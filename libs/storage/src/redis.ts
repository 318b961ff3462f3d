import { AppError } from '@sluice/errors'
import { withDeadline } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import { Redis, type RedisOptions } from 'ioredis'

export interface RedisConnections {
  /** For commands: each fails within its timeout when Redis is away, instead of queueing. */
  readonly client: Redis
  /**
   * A connection of its own for BullMQ, whose blocking commands wait for as long as it takes. The caller need not close
   * it: `close` does.
   */
  forBullMq(): Redis
  /** A connection of its own for SUBSCRIBE, which bars every other command; `close` closes it. */
  forSubscriptions(): Redis
  /** Resolves when Redis answers; for readiness. */
  ping(): Promise<void>
  close(): Promise<void>
}

const closeDeadlineMs = 2_000

/**
 * Connects at once and keeps reconnecting for ever; a lost connection is logged when it is lost and when it is back,
 * not with every attempt.
 * @param url `redis://` or `rediss://`, with credentials where needed
 */
export function connectRedis(
  url: string,
  {
    logger,
    commandTimeoutMs = 2_000,
    autoPipelining = false,
  }: {
    logger: Logger
    commandTimeoutMs?: number
    /** Commands of one turn of the event loop share a write and a read: less work for a process that sends many. */
    autoPipelining?: boolean
  },
): RedisConnections {
  let closing = false
  const retryStrategy = (attempt: number) => (closing ? null : Math.min(50 * 2 ** Math.min(attempt, 5), 1_000))
  const opened: Redis[] = []
  const open = (role: string, options: RedisOptions) => {
    const connection = new Redis(url, { retryStrategy, connectTimeout: 5_000, ...options })
    logStateChanges(connection, logger, role)
    opened.push(connection)
    return connection
  }
  const client = open('commands', {
    commandTimeout: commandTimeoutMs,
    enableAutoPipelining: autoPipelining,
    // Admission gathers its own runs of a turn; a pipeline around them would have each wait for one turn more.
    autoPipeliningIgnoredCommands: ['evalsha'],
    // A command waits for one reconnection at most: an admission that Redis cannot answer has its own fallback.
    maxRetriesPerRequest: 1,
    // A command whose answer was lost may have run; whether it may run twice is its caller's to say.
    autoResendUnfulfilledCommands: false,
  })
  return {
    client,
    // BullMQ refuses any other setting: a blocking command is pending for as long as its queue is empty.
    forBullMq: () => open('bullmq', { maxRetriesPerRequest: null }),
    forSubscriptions: () => open('subscriptions', { maxRetriesPerRequest: null }),
    ping: async () => {
      await client.ping().catch((cause: unknown) => {
        throw new AppError('storage_unavailable', 'Redis does not answer.', { cause })
      })
    },
    close: async () => {
      closing = true
      await Promise.all(opened.map((connection) => close(connection)))
    },
  }
}

function logStateChanges(connection: Redis, logger: Logger, role: string): void {
  let lost = false
  connection.on('error', (err: Error) => {
    if (!lost) logger.warn({ err, role }, 'redis connection lost')
    lost = true
  })
  connection.on('ready', () => {
    if (lost) logger.info({ role }, 'redis connection restored')
    lost = false
  })
}

/**
 * Lets pending commands finish when Redis answers. When it does not, they fail with the reconnection under way:
 * disconnecting in between would leave them pending for ever, because ioredis then drops its timer and nothing else.
 */
async function close(connection: Redis): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    if (connection.status === 'end') resolve()
    else connection.once('end', resolve)
  })
  if (connection.status === 'ready') connection.quit().catch(() => undefined)
  const late = () => new Error('redis is slow')
  await withDeadline(closeDeadlineMs, undefined, () => ended, late).catch(() => undefined)
  connection.disconnect()
}
