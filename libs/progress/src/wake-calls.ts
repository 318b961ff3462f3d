import type { Redis } from 'ioredis'

/**
 * Wakes whoever waits for news on a channel: one connection subscribes for the whole process, so a thousand watchers
 * cost one socket. A message only says "look": one that is lost delays its watcher until it looks by itself.
 */
export class WakeCalls {
  readonly #connect: () => Redis
  readonly #listeners = new Map<string, Set<() => void>>()
  #connection: Redis | undefined

  constructor(connect: () => Redis) {
    this.#connect = connect
  }

  /** Calls `wake` for every message on the channel until the returned function is called. */
  listen(channel: string, wake: () => void): () => void {
    const connection = (this.#connection ??= this.#open())
    const there = this.#listeners.get(channel)
    if (there === undefined) {
      this.#listeners.set(channel, new Set([wake]))
      // ioredis subscribes again after every reconnect; a failure now is made up for then.
      void connection.subscribe(channel).then(wake, () => undefined)
    } else there.add(wake)
    return () => {
      const listeners = this.#listeners.get(channel)
      listeners?.delete(wake)
      if (listeners?.size !== 0) return
      this.#listeners.delete(channel)
      void connection.unsubscribe(channel).catch(() => undefined)
    }
  }

  #open(): Redis {
    const connection = this.#connect()
    connection.on('message', (channel: string) => {
      for (const wake of this.#listeners.get(channel) ?? []) wake()
    })
    // Messages sent while the connection was away are gone.
    connection.on('ready', () => {
      for (const listeners of this.#listeners.values()) for (const wake of listeners) wake()
    })
    return connection
  }
}
