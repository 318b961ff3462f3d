import { AppError } from '@sluice/errors'
import { type Clock, type Timer, withDeadline } from '@sluice/resilience'
import { Bag, type Placed } from './bag.ts'
import { isLockLost } from './translate-error.ts'

/** A lock to be kept. Times are durations: the broker's clock is not this machine's. */
export interface LockToKeep {
  /** How long the lock lasts from now. */
  remainingMs: number
  /** Extends the lock. @returns how long it lasts from the moment of the call */
  renew(): Promise<number>
  /** Called at most once, when the lock is gone or can no longer be trusted. */
  lost(error: AppError): void
}

interface Kept extends LockToKeep, Placed {
  expiresAtMs: number
  bucket: number
  released: boolean
}

const tickMs = 100
const renewDeadlineMs = 5000
const retryMs = 500

/**
 * Keeps locks for as long as their messages are worked on: each is renewed at half of what remains of it. A renewal that
 * fails for another reason than the lock's loss is tried again until the lock would have expired, through reconnects of
 * the link included, because the lock belongs to the message and not to the link.
 *
 * Locks wait in the buckets of a timer wheel, so that taking and releasing one costs two array operations and no timer.
 * The SDK's own renewer is not used: it keys timers by message id, which is not unique, ends for good after one failed
 * renewal, and stops with the link (autoLockRenewer.js, 7.9.5).
 */
export class LockRenewer {
  readonly #clock: Clock
  readonly #wheel = new Map<number, Bag<Kept>>()
  #waiting = 0
  #nextBucket = 0
  #timer: Timer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @returns the release, to be called when the message is settled or given up */
  keep(lock: LockToKeep): () => void {
    const kept: Kept = {
      ...lock,
      expiresAtMs: this.#clock.monotonic() + lock.remainingMs,
      bucket: -1,
      place: -1,
      released: false,
    }
    this.#schedule(kept, lock.remainingMs / 2)
    return () => {
      kept.released = true
      if (this.#wheel.get(kept.bucket)?.delete(kept)) this.#waiting--
    }
  }

  /** Renews nothing any more; locks that are still kept run out on their own. */
  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#wheel.clear()
    this.#waiting = 0
  }

  #schedule(kept: Kept, inMs: number): void {
    const now = this.#bucketOf(this.#clock.monotonic())
    if (this.#waiting === 0) this.#nextBucket = now
    kept.bucket = Math.max(this.#nextBucket, this.#bucketOf(this.#clock.monotonic() + inMs))
    let bucket = this.#wheel.get(kept.bucket)
    if (!bucket) this.#wheel.set(kept.bucket, (bucket = new Bag()))
    bucket.add(kept)
    this.#waiting++
    this.#timer ??= this.#clock.setTimeout(() => this.#turn(), tickMs)
  }

  #turn(): void {
    this.#timer = undefined
    const now = this.#bucketOf(this.#clock.monotonic())
    for (; this.#nextBucket <= now; this.#nextBucket++) {
      const due = this.#wheel.get(this.#nextBucket)
      this.#wheel.delete(this.#nextBucket)
      for (const kept of due?.members ?? []) {
        this.#waiting--
        void this.#renew(kept)
      }
    }
    if (this.#waiting > 0) this.#timer ??= this.#clock.setTimeout(() => this.#turn(), tickMs)
    else this.#wheel.clear()
  }

  async #renew(kept: Kept): Promise<void> {
    const startMs = this.#clock.monotonic()
    const budgetMs = Math.min(renewDeadlineMs, kept.expiresAtMs - startMs)
    if (budgetMs <= 0) return this.#lose(kept, noAnswer())
    try {
      const remainingMs = await withDeadline(budgetMs, undefined, () => kept.renew(), noAnswer, this.#clock)
      if (kept.released) return
      kept.expiresAtMs = startMs + remainingMs
      this.#schedule(kept, (kept.expiresAtMs - this.#clock.monotonic()) / 2)
    } catch (error) {
      if (kept.released) return
      const leftMs = kept.expiresAtMs - this.#clock.monotonic()
      if (isLockLost(error) || leftMs <= 0) this.#lose(kept, error)
      else this.#schedule(kept, Math.min(retryMs, leftMs))
    }
  }

  #lose(kept: Kept, cause: unknown): void {
    kept.released = true
    kept.lost(new AppError('lock_lost', 'the message lock is lost: another delivery may be under way', { cause }))
  }

  #bucketOf(atMs: number): number {
    return Math.floor(atMs / tickMs)
  }
}

const noAnswer = () => new AppError('queue_unavailable', 'renew lock: no answer')
