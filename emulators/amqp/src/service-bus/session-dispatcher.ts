import { sessionCannotBeLocked, sessionLockLost } from '../broker-error.ts'
import type { BrokeredMessage } from './brokered-message.ts'
import type { Consumer } from './consumer.ts'
import type { DispatchedQueue, Dispatcher } from './dispatcher.ts'
import { ReadyQueue } from './ready-queue.ts'

/** A receiving link that holds a session, or waits for one. */
export interface SessionHolder extends Consumer {
  /** A wait for the next session has ended with this one. */
  granted(sessionId: string, lockedUntilMs: number): void
  /** The session's lock expired or was taken away. */
  sessionLockLost(): void
}

type Session = {
  readonly id: string
  readonly ready: ReadyQueue
  readonly locked: Map<number, BrokeredMessage>
  holder: SessionHolder | undefined
  lockedUntilMs: number
  state: Buffer | undefined
  updatedAtMs: number
}

/** Who holds a session that was locked before a restart: nobody who could take messages, until the lock ends. */
const formerHolder: SessionHolder = {
  mode: 'peek-lock',
  capacity: () => 0,
  deliver: () => undefined,
  lockLost: () => undefined,
  granted: () => undefined,
  sessionLockLost: () => undefined,
}

/** First in, first out per session: each session has one holder at a time, and one lock for all of its messages. */
export class SessionDispatcher implements Dispatcher {
  readonly #queue: DispatchedQueue
  readonly #sessions = new Map<string, Session>()
  // A renewal moves its session to the end and all locks last equally long: insertion order is expiry order.
  readonly #held = new Map<string, Session>()
  /** Sessions without a holder that have something to deliver, the longest waiting first. */
  readonly #free = new Set<Session>()
  readonly #waiting = new Set<SessionHolder>()
  readonly #dirty = new Set<Session>()

  constructor(queue: DispatchedQueue) {
    this.#queue = queue
  }

  /**
   * Locks the session for the holder.
   * @returns when the lock expires unless renewed
   * @throws BrokerError session-cannot-be-locked while another holder has it
   */
  accept(sessionId: string, holder: SessionHolder): number {
    const session = this.#session(sessionId)
    if (session.holder !== undefined) throw sessionCannotBeLocked(sessionId)
    return this.#lock(session, holder)
  }

  /** The session was locked when a former run ended. Its holder cannot be told from others, so nobody gets it before. */
  restoreLock(sessionId: string, lockedUntilMs: number): void {
    this.#hold(this.#session(sessionId), formerHolder, lockedUntilMs)
  }

  /** Grants the next free session that has messages, now or as soon as there is one. `stopWaiting` ends the wait. */
  acceptNext(holder: SessionHolder): void {
    this.#waiting.add(holder)
    this.#grant()
  }

  /** @returns whether the holder was still waiting */
  stopWaiting(holder: SessionHolder): boolean {
    return this.#waiting.delete(holder)
  }

  /** The holder is gone: its unsettled messages become ready again, uncounted, and the session free. */
  release(sessionId: string, holder: SessionHolder): void {
    const session = this.#sessions.get(sessionId)
    if (session?.holder === holder) this.#giveUp(session, (message) => this.#queue.releaseLock(message))
  }

  /**
   * @returns the new expiry
   * @throws BrokerError session-lock-lost when nobody holds the session
   */
  renew(sessionId: string): number {
    const session = this.#held.get(sessionId)
    if (session === undefined) throw sessionLockLost(sessionId)
    session.lockedUntilMs = this.#newExpiry()
    this.#held.delete(sessionId)
    this.#held.set(sessionId, session)
    this.#queue.saveSessionLock(sessionId, session.lockedUntilMs)
    for (const message of session.locked.values()) if (message.lock) message.lock.lockedUntilMs = session.lockedUntilMs
    return session.lockedUntilMs
  }

  isHeld(sessionId: string): boolean {
    return this.#held.has(sessionId)
  }

  /** Ends every session lock at once, as the service may do at any time. */
  loseLocks(): number {
    const held = [...this.#held.values()]
    for (const session of held) this.#expire(session)
    return held.length
  }

  state(sessionId: string): Buffer | undefined {
    return this.#sessions.get(sessionId)?.state
  }

  setState(sessionId: string, state: Buffer | undefined): void {
    const session = this.#session(sessionId)
    session.state = state
    session.updatedAtMs = this.#queue.now()
    this.#forgetIfIdle(session)
  }

  /** Ids of sessions with messages or state that changed after `since`, in order. */
  list(since: number): string[] {
    return [...this.#sessions.values()]
      .filter((session) => session.updatedAtMs > since)
      .map((session) => session.id)
      .sort()
  }

  /** The holder can take more. */
  credited(sessionId: string): void {
    const session = this.#sessions.get(sessionId)
    if (session !== undefined) this.#dirty.add(session)
  }

  ready(message: BrokeredMessage): void {
    const session = this.#session(message.sessionId ?? '')
    session.ready.push(message.sequenceNumber)
    session.updatedAtMs = this.#queue.now()
    if (session.holder === undefined) this.#free.add(session)
    else this.#dirty.add(session)
  }

  dispatch(): void {
    this.#grant()
    for (const session of this.#dirty) {
      this.#dirty.delete(session)
      while (session.holder !== undefined && session.ready.size > 0 && session.holder.capacity() > 0) {
        const message = this.#queue.available(session.ready.take() ?? 0)
        if (message === undefined) continue
        this.#queue.assign(message, session.holder)
        session.holder.deliver(message)
      }
    }
  }

  locked(message: BrokeredMessage): void {
    if (message.lock !== undefined) this.#session(message.sessionId ?? '').locked.set(message.lock.id, message)
  }

  unlocked(message: BrokeredMessage, lockId: number): void {
    const session = this.#sessions.get(message.sessionId ?? '')
    session?.locked.delete(lockId)
    if (session !== undefined) this.#forgetIfIdle(session)
  }

  sweep(now: number): void {
    for (const session of this.#held.values()) {
      if (session.lockedUntilMs > now) return
      this.#expire(session)
    }
  }

  nextDeadline(): number {
    for (const session of this.#held.values()) return session.lockedUntilMs
    return Infinity
  }

  lockedUntil(message: BrokeredMessage): number {
    return this.#sessions.get(message.sessionId ?? '')?.lockedUntilMs ?? this.#queue.now()
  }

  #grant(): void {
    for (const holder of this.#waiting) {
      const session = this.#nextFree()
      if (session === undefined) return
      this.#waiting.delete(holder)
      holder.granted(session.id, this.#lock(session, holder))
    }
  }

  #nextFree(): Session | undefined {
    for (const session of this.#free) {
      let next = session.ready.peek()
      while (next !== undefined && this.#queue.available(next) === undefined) {
        session.ready.take()
        next = session.ready.peek()
      }
      if (next !== undefined) return session
      this.#free.delete(session)
    }
    return undefined
  }

  #newExpiry(): number {
    return this.#queue.now() + this.#queue.lockDurationMs
  }

  #lock(session: Session, holder: SessionHolder): number {
    const lockedUntilMs = this.#newExpiry()
    this.#hold(session, holder, lockedUntilMs)
    this.#queue.saveSessionLock(session.id, lockedUntilMs)
    return lockedUntilMs
  }

  #hold(session: Session, holder: SessionHolder, lockedUntilMs: number): void {
    session.holder = holder
    session.lockedUntilMs = lockedUntilMs
    this.#free.delete(session)
    this.#held.set(session.id, session)
    this.#dirty.add(session)
    if (this.#held.size === 1) this.#queue.deadlineChanged()
  }

  #expire(session: Session): void {
    const holder = session.holder
    this.#giveUp(session, (message) => this.#queue.expireLock(message))
    holder?.sessionLockLost()
    this.#grant()
  }

  #giveUp(session: Session, unlock: (message: BrokeredMessage) => void): void {
    session.holder = undefined
    this.#held.delete(session.id)
    this.#queue.saveSessionLock(session.id, undefined)
    for (const message of session.locked.values()) unlock(message)
    session.locked.clear()
    if (session.ready.size > 0) this.#free.add(session)
    else this.#forgetIfIdle(session)
  }

  #session(id: string): Session {
    let session = this.#sessions.get(id)
    if (session === undefined) {
      session = {
        id,
        ready: new ReadyQueue(),
        locked: new Map(),
        holder: undefined,
        lockedUntilMs: 0,
        state: undefined,
        updatedAtMs: this.#queue.now(),
      }
      this.#sessions.set(id, session)
    }
    return session
  }

  #forgetIfIdle(session: Session): void {
    const idle =
      session.holder === undefined &&
      session.ready.size === 0 &&
      session.locked.size === 0 &&
      session.state === undefined
    if (idle && this.#sessions.get(session.id) === session) {
      this.#sessions.delete(session.id)
    }
  }
}
