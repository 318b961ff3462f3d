import type { RedisConnections } from '@sluice/storage'
import type { Logger, Metrics } from '@sluice/telemetry'
import type { Clock } from '@sluice/resilience'
import { encodeEntry, type ProgressEntry, type SignalRTarget } from './progress-entry.ts'
import { readStream } from './read-stream.ts'
import { encodeSharedEntry, signalrStream } from './shared-stream.ts'
import { WakeCalls } from './wake-calls.ts'
import { WriteQueue } from './write-queue.ts'

export interface ProgressOptions {
  redis: Pick<RedisConnections, 'client' | 'forSubscriptions'>
  clock: Clock
  logger: Logger
  metrics: Metrics
}

export interface Progress {
  /**
   * Notes what happened to a request. Returns at once and never throws: progress is for watchers, and the ledger has
   * the truth. Entries of one process keep their order.
   * @param signalr targets that are told of it as well
   */
  publish(tenant: string, id: string, entry: ProgressEntry, options?: { signalr?: SignalRTarget[] | undefined }): void
  /**
   * The entries of a request after `lastId` (`0`: from the beginning), and those to come. Ends after `finished`, and
   * quietly when the signal aborts. While Redis is away, or has lost the request, it yields nothing: ask the ledger too.
   */
  read(
    tenant: string,
    id: string,
    lastId: string,
    signal: AbortSignal,
  ): AsyncIterable<{ streamId: string; entry: ProgressEntry }>
  /** Whether anything is known of the request; false while Redis is away. */
  has(tenant: string, id: string): Promise<boolean>
  /** Writes what is still waiting, each pipeline within Redis' command timeout. */
  close(): Promise<void>
}

const keptAfterEndMs = 3_600_000
// Rows end within their deadlines; a stream whose end was never written must not stay for ever.
const keptAtMostMs = 24 * 3_600_000
const maxEntries = 1_000
const maxSharedEntries = 100_000
const maxWaitingBytes = 8 * 1024 * 1024
/** A chunk beyond this is left out; its watcher sees the gap, and the result has it. */
const maxEntryBytes = 256 * 1024

const keyOf = (tenant: string, id: string) => `sluice:progress:{${tenant}|${id}}`

/** Progress of requests in Redis: one capped stream a request, and one for everything that goes to SignalR. */
export function createProgress({ redis, clock, logger, metrics }: ProgressOptions): Progress {
  const dropped = metrics.counter({
    name: 'sluice_progress_dropped_total',
    help: 'Progress entries that no watcher will see, because Redis was away or too slow.',
  })
  let failing = false
  const queue = new WriteQueue({
    redis: redis.client,
    maxBytes: maxWaitingBytes,
    onDropped: (count, err) => {
      dropped.inc(count)
      if (!failing) logger.warn({ err }, 'progress is being dropped')
      failing = true
    },
    onWritten: () => (failing = false),
  })
  const wakeCalls = new WakeCalls(() => redis.forSubscriptions())

  return {
    publish(tenant, id, entry, { signalr = [] } = {}) {
      const key = keyOf(tenant, id)
      const fields = encodeEntry(entry)
      const bytes = fields.reduce((sum, field) => sum + field.length, 200)
      if (bytes > maxEntryBytes) return dropped.inc()
      const ttlMs = entry.kind === 'finished' ? keptAfterEndMs : keptAtMostMs
      const shared = signalr.length === 0 ? [] : encodeSharedEntry({ tenant, id, targets: signalr, entry })
      queue.add({
        commands: [
          ['xadd', key, 'MAXLEN', '~', maxEntries, '*', ...fields],
          ['pexpire', key, ttlMs],
          ['publish', key, ''],
          ...(shared.length === 0
            ? []
            : ([['xadd', signalrStream, 'MAXLEN', '~', maxSharedEntries, '*', ...shared]] satisfies [
                string,
                ...(string | number)[],
              ][])),
        ],
        bytes: shared.length === 0 ? bytes : 2 * bytes,
        urgent: entry.kind !== 'delta',
      })
    },
    read: (tenant, id, lastId, signal) =>
      readStream({ redis: redis.client, wakeCalls, key: keyOf(tenant, id), lastId, clock, signal }),
    has: async (tenant, id) => (await redis.client.exists(keyOf(tenant, id)).catch(() => 0)) === 1,
    close: () => queue.settled(),
  }
}
