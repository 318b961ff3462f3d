import { isTerminal } from '@sluice/contracts'
import type { Ledger, Row } from '@sluice/ledger'
import type { Progress } from '@sluice/progress'
import { sleep } from '@sluice/resilience'

interface Watch {
  ledger: Pick<Ledger, 'get'>
  progress: Pick<Progress, 'read'>
}

/** Progress may be lost with Redis; the ledger is asked this often meanwhile. */
const lookEveryMs = 5_000
/** A reader may see the row a moment later than the one who wrote it. */
const staleForMs = 100

/**
 * Waits until a request has ended, at most `waitMs`. Progress wakes it, so that the ledger is asked once when the
 * request ends and every few seconds before.
 * @returns the row as it is then
 */
export async function awaitEnd(watch: Watch, row: Row, waitMs: number, gone: AbortSignal): Promise<Row> {
  if (isTerminal(row.status) || waitMs <= 0) return row
  const over = AbortSignal.any([gone, AbortSignal.timeout(waitMs)])
  const reading = new AbortController()
  const signal = AbortSignal.any([over, reading.signal])
  const ended = finished(watch, row, signal)
  try {
    let latest = row
    let announced = false
    while (!over.aborted) {
      const pause: Promise<void> = sleep(announced ? staleForMs : lookEveryMs, { signal }).catch(() => undefined)
      if (announced) await pause
      else announced = (await Promise.race([ended, pause])) === true
      latest = (await watch.ledger.get(row.tenant, row.id)) ?? latest
      if (isTerminal(latest.status)) return latest
    }
    return latest
  } finally {
    reading.abort()
  }
}

async function finished({ progress }: Watch, { tenant, id }: Row, signal: AbortSignal): Promise<boolean> {
  for await (const { entry } of progress.read(tenant, id, '0', signal)) if (entry.kind === 'finished') return true
  return false
}
