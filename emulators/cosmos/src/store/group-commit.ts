import type { DatabaseSync } from 'node:sqlite'

export interface CommitHooks {
  /** Still inside the transaction. */
  beforeCommit(): void
  /** The commit failed: what is held in memory may be ahead of the tables. */
  afterRollback(): void
}

/**
 * One transaction per event-loop turn. The first write of a turn opens it, every request handled in that turn shares it,
 * and replies are released after COMMIT; so an acknowledged write is in the WAL. With synchronous=NORMAL the WAL is
 * written but not fsynced at commit: that survives SIGKILL of this process (the page cache is the kernel's), not a power cut.
 */
export class GroupCommit {
  readonly #database: DatabaseSync
  readonly #hooks: CommitHooks
  #open = false
  #waiting: ((error?: Error) => void)[] = []
  #closed = false

  constructor(database: DatabaseSync, hooks: CommitHooks) {
    this.#database = database
    this.#hooks = hooks
  }

  /** Call before any write. */
  begin(): void {
    if (this.#open) return
    if (this.#closed) throw new Error('The store is closed.')
    this.#database.exec('BEGIN IMMEDIATE')
    this.#open = true
    setImmediate(() => this.flush())
  }

  /**
   * Runs `release` once everything read or written so far is committed: at once when no transaction is open. Reads wait
   * too, because they may have seen writes that a crash would still take back.
   */
  afterCommit(release: (error?: Error) => void): void {
    if (this.#open) this.#waiting.push(release)
    else release()
  }

  flush(): void {
    if (!this.#open) return
    let failure: Error | undefined
    try {
      this.#hooks.beforeCommit()
      this.#database.exec('COMMIT')
    } catch (error) {
      failure = error as Error
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      this.#hooks.afterRollback()
    }
    this.#open = false
    const released = this.#waiting
    this.#waiting = []
    for (const release of released) release(failure)
  }

  /** All or nothing inside the open transaction. */
  atomically<T>(work: () => T): T {
    this.begin()
    this.#database.exec('SAVEPOINT operation')
    try {
      const result = work()
      this.#database.exec('RELEASE operation')
      return result
    } catch (error) {
      this.#database.exec('ROLLBACK TO operation; RELEASE operation')
      throw error
    }
  }

  close(): void {
    this.flush()
    this.#closed = true
  }
}
