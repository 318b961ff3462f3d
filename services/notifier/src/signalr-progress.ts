import type { ProgressEntry, SharedEntry } from '@sluice/progress'
import { SlotPool } from '@sluice/resilience'
import type { SignalRService } from '@sluice/signalr'
import type { Logger } from '@sluice/telemetry'
import type { DeliveryMetrics } from './delivery-metrics.ts'
import { audienceOf } from './sinks.ts'

type Target = SharedEntry['targets'][number]
/** JSON of one entry, and the method that clients are invoked with. */
interface Waiting {
  method: 'status' | 'delta'
  json: string
}
interface Watcher {
  tenant: string
  target: Target
  waiting: Waiting[]
  bytes: number
}

export interface SignalRProgress {
  /** Takes an entry for each of its targets. Returns at once and never throws. */
  push(entry: SharedEntry): void
  /** Resolves when everything taken so far was sent or given up. */
  settled(): Promise<void>
}

export interface SignalRProgressOptions {
  signalr: Pick<SignalRService, 'send'>
  metrics: Pick<DeliveryMetrics, 'coalesced' | 'dropped'>
  logger: Logger
  signal: AbortSignal
  /** Bytes that wait for one watcher, and for all of them. */
  maxWatcherBytes?: number
  maxBytes?: number
}

const maxMessageBytes = 256 * 1024
const sendsInFlight = 64

/**
 * Statuses and deltas on their way to SignalR. A watcher has one message under way at a time, and what comes meanwhile
 * goes with the next one: a slow service gets longer messages and not more of them. What exceeds the bounds is dropped;
 * deltas are numbered, so their watcher sees the gap and reads the events' list or the result.
 */
export function createSignalRProgress(options: SignalRProgressOptions): SignalRProgress {
  const { signalr, metrics, logger, signal, maxWatcherBytes = 1024 * 1024, maxBytes = 32 * 1024 * 1024 } = options
  const watchers = new Map<string, Watcher>()
  const flushes = new Set<Promise<void>>()
  const sends = new SlotPool(sendsInFlight)
  let bytes = 0
  let failing = false

  const send = async (watcher: Watcher, run: Waiting[]): Promise<void> => {
    const [first] = run
    const audience = audienceOf(watcher.tenant, watcher.target)
    if (first === undefined || audience === undefined) return
    const args = first.method === 'delta' ? `[[${run.map(({ json }) => json).join(',')}]]` : `[${first.json}]`
    try {
      await signalr.send(audience, first.method, args, signal)
      if (run.length > 1) metrics.coalesced.inc(run.length - 1)
      failing = false
    } catch (err) {
      metrics.dropped.inc(run.length)
      if (!failing && !signal.aborted) logger.warn({ err }, 'progress does not reach SignalR')
      failing = true
    }
  }
  const flush = async (key: string, watcher: Watcher): Promise<void> => {
    // What comes within one turn of the event loop goes together.
    await new Promise<void>((resolve) => setImmediate(resolve))
    while (watcher.waiting.length > 0) {
      const slot = await sends.acquire()
      const run = watcher.waiting.splice(0, runLength(watcher.waiting))
      const taken = run.reduce((sum, { json }) => sum + json.length, 0)
      watcher.bytes -= taken
      bytes -= taken
      await send(watcher, run)
      slot.release()
    }
    watchers.delete(key)
  }

  return {
    push({ tenant, id, targets, entry }) {
      const waiting = shown(id, entry)
      if (waiting === undefined) return
      for (const target of targets) {
        const key = JSON.stringify([tenant, target])
        const known = watchers.get(key)
        const watcher = known ?? { tenant, target, waiting: [], bytes: 0 }
        if (watcher.bytes + waiting.json.length > maxWatcherBytes || bytes + waiting.json.length > maxBytes) {
          metrics.dropped.inc()
          continue
        }
        watcher.waiting.push(waiting)
        watcher.bytes += waiting.json.length
        bytes += waiting.json.length
        if (known !== undefined) continue
        watchers.set(key, watcher)
        const flushing = flush(key, watcher).finally(() => flushes.delete(flushing))
        flushes.add(flushing)
      }
    },
    settled: async () => void (await Promise.all(flushes)),
  }
}

/** How many of the waiting entries make one message: a status alone, deltas together. */
function runLength(waiting: Waiting[]): number {
  let length = 0
  let bytes = 0
  for (const { method, json } of waiting) {
    bytes += json.length
    if (length > 0 && (method === 'status' || bytes > maxMessageBytes)) break
    length++
    if (method === 'status') break
  }
  return length
}

function shown(id: string, entry: ProgressEntry): Waiting | undefined {
  switch (entry.kind) {
    case 'queued':
      return { method: 'status', json: JSON.stringify({ id, status: 'queued', lane: entry.lane }) }
    case 'started':
      return { method: 'status', json: JSON.stringify({ id, status: 'running', attempt: entry.attempt }) }
    case 'delta':
      return { method: 'delta', json: JSON.stringify({ id, index: entry.index, chunk: entry.chunk }) }
    case 'finished':
      // The event itself comes over the topic, which loses nothing.
      return undefined
  }
}
