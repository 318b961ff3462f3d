import { isTerminal } from '@sluice/contracts'
import type { Clock, Timer } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import type { Ledger, Observed } from './ledger-types.ts'
import { isHeld, isLoose, isUnowned, type Row } from './row.ts'
import { Sightings } from './sightings.ts'

export interface SweeperOptions {
  ledger: Pick<Ledger, 'sweeping'>
  clock: Clock
  logger: Logger
  intervalMs: number
  /** For how long a row must stand still before it is touched; at least two beats of its owner. */
  leaseMs: number
  /** Sends the row's line to its lane again; see `lineOf`. */
  resend: (row: Row) => Promise<void>
  /** Publishes the terminal row's event and marks it as published; see `createOutbox`. */
  publish: (row: Row) => Promise<void>
  /** Rows that stand still for a reason that is not theirs, such as a paused lane: they are left alone. */
  isHeldBack?: (row: Observed) => boolean
  /** False while this machine's wall clock is off: then the deadlines are left to other machines' sweepers. */
  clockTrusted?: () => boolean
}

export interface Sweeper {
  start(): void
  /** Waits for the sweep under way; every step of it has a deadline. */
  stop(): Promise<void>
  /**
   * One look at the rows that are not settled, from where the last one ended. A failure is logged and forgets what was
   * seen: owners could not beat either while storage was away.
   * @returns how many rows it moved
   */
  sweepOnce(): Promise<number>
}

const pageSize = 200
const maxRowsPerSweep = 2_000
const maxSightings = 20_000
const parallel = 8
/** A row that stays unclaimed is sent again after 1, 2, 4, … leases: 64 leases are 16 minutes. */
const maxDoublings = 6

/**
 * Looks after the rows that nobody looks after: what stood still for the lease is taken over, sent or published again,
 * and what passed its deadline unclaimed ends as expired. Any number of sweepers may run at once, because each act
 * begins with a patch that only one of them gets through. A row that changed hands in between is simply left alone.
 */
export function createSweeper(options: SweeperOptions): Sweeper {
  const { clock, logger, intervalMs, leaseMs, resend, publish, clockTrusted = () => true } = options
  const { isHeldBack = () => false } = options
  const { sweeping } = options.ledger
  const sightings = new Sightings(maxSightings)
  let after: Observed | undefined
  let timer: Timer | undefined
  let sweep: Promise<unknown> | undefined
  let stopping = new AbortController()
  let failing = false

  async function sweepOnce(): Promise<number> {
    let moved = 0
    try {
      for (let looked = 0; looked < maxRowsPerSweep && !stopping.signal.aborted; looked += pageSize) {
        const page = await sweeping.unsettled({ after, limit: pageSize })
        after = page.length < pageSize ? undefined : page.at(-1)
        moved += await sweepPage(page)
        if (after === undefined) {
          sightings.endRound()
          break
        }
      }
      failing = false
    } catch (err) {
      if (!failing) logger.warn({ err }, 'sweeping failed')
      failing = true
      after = undefined
      sightings.forget()
    }
    return moved
  }

  async function sweepPage(page: Observed[]): Promise<number> {
    const nowMs = clock.monotonic()
    const due = page.filter((row) => isDue(row, sightings.stoodStillMs(row, nowMs)))
    let moved = 0
    const lane = async () => {
      for (let row = due.shift(); row !== undefined && !stopping.signal.aborted; row = due.shift()) {
        if (await act(row)) moved++
      }
    }
    await Promise.all(Array.from({ length: parallel }, lane))
    return moved
  }

  function isDue(row: Observed, stoodStillMs: number): boolean {
    if (isExpired(row)) return true
    if (isUnowned(row.status) && isHeldBack(row)) return false
    // A held row's beats are its owner's; those of any other row count how often a sweeper touched it.
    const doublings = isHeld(row.status) ? 0 : Math.min(row.beat, maxDoublings)
    return stoodStillMs >= leaseMs * 2 ** doublings
  }

  const isExpired = ({ status, deadline }: Observed): boolean =>
    isLoose(status) && deadline !== undefined && Date.parse(deadline) <= clock.now() && clockTrusted()

  /** @returns whether this sweeper moved the row */
  async function act(seen: Observed): Promise<boolean> {
    const { id: requestId, tenant, status } = seen
    try {
      const row = await move(seen)
      if (row === undefined) return false
      logger.info({ requestId, tenant, from: status, to: row.status }, 'swept')
      await (isTerminal(row.status) ? publish(row) : resend(row))
      return true
    } catch (err) {
      // Whatever step failed, the row stands still again and its turn comes again.
      logger.warn({ err, requestId, tenant }, 'sweeping a row failed')
      return false
    }
  }

  function move(seen: Observed): Promise<Row | undefined> {
    if (isExpired(seen)) return sweeping.end(seen, 'expired')
    if (seen.status === 'running') return sweeping.takeOver(seen)
    if (seen.status === 'cancel_requested') return sweeping.end(seen, 'cancelled')
    return sweeping.touch(seen)
  }

  function schedule(): void {
    // Spread out, so that workers that started together do not query together.
    const ms = intervalMs * (0.75 + Math.random() / 2)
    timer = clock.setTimeout(() => {
      sweep = sweepOnce().then(() => {
        if (!stopping.signal.aborted) schedule()
      })
    }, ms)
  }

  return {
    sweepOnce,
    start: () => {
      stopping = new AbortController()
      schedule()
    },
    stop: async () => {
      stopping.abort()
      timer?.cancel()
      await sweep
    },
  }
}
