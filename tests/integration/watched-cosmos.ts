import type { Cosmos } from '@sluice/storage'

/** A write to the row of a batch or a part that its writer makes as its holder, as it was stored. */
export interface HeldWrite {
  id: string
  /** Of the row after the write. */
  fence: number
  /** The write took the fence. */
  claims: boolean
}

/** One process' way to the rows of batches, on which it can die or stand still in the middle of a write. */
export interface WatchedCosmos extends Cosmos {
  /** Dies with its n-th write from now: before that is sent, or before its answer is read. */
  dieAt(n: number, sent: boolean): void
  /** Stands still before its n-th write from now, and before all that follow, until `resume`. @param of count these only */
  stallAt(n: number, of?: Write): void
  /** Resolves when it stands still. */
  stalled(): Promise<void>
  resume(): void
}

type Write = 'create' | 'patch'

interface Operation {
  op: string
  path: string
}

/** @param stored told of each write that a holder made */
export function watchedCosmos(cosmos: Cosmos, stored: (write: HeldWrite) => void): WatchedCosmos {
  let left = Number.POSITIVE_INFINITY
  let fate: 'dies' | 'dies after' | 'stalls' = 'stalls'
  let counted: Write | undefined
  let dead = false
  let gate: PromiseWithResolvers<void> | undefined
  let reached = Promise.withResolvers<void>()

  const write = async (kind: Write, send: () => Promise<unknown>): Promise<unknown> => {
    if (counted === undefined || counted === kind) left--
    if (left <= 0) {
      left = Number.POSITIVE_INFINITY
      if (fate === 'stalls') gate ??= Promise.withResolvers()
      else {
        dead = true
        if (fate === 'dies after') await send()
      }
    }
    if (gate !== undefined) {
      reached.resolve()
      await gate.promise
    }
    if (dead) throw new Error('killed')
    return send()
  }
  const patched = (outcome: unknown, operations: readonly Operation[]): void => {
    const { kind, row } = outcome as { kind: string; row?: { id: string; fence: number } }
    // A wake-up and a sum that anybody may add to leave the time of the last change alone.
    if (kind !== 'patched' || row === undefined || !operations.some(({ path }) => path === '/updated_at')) return
    stored({ id: row.id, fence: row.fence, claims: operations.some(({ path }) => path === '/fence') })
  }

  return {
    ...cosmos,
    rows: (name) => {
      const rows = cosmos.rows(name)
      if (name !== 'batches') return rows as never
      return new Proxy(rows, {
        get(target, property) {
          const value = Reflect.get(target, property) as unknown
          if (typeof value !== 'function') return value
          return async (...args: unknown[]) => {
            if (dead) throw new Error('killed')
            const call = async () => (value as (...all: unknown[]) => Promise<unknown>).apply(target, args)
            if (property !== 'patch' && property !== 'create') return call()
            return write(property, async () => {
              const outcome = await call()
              if (property === 'patch') patched(outcome, (args[0] as { operations: Operation[] }).operations)
              return outcome
            })
          }
        },
      }) as never
    },
    dieAt(n, sent) {
      left = n
      counted = undefined
      fate = sent ? 'dies after' : 'dies'
    },
    stallAt(n, of) {
      left = n
      counted = of
      fate = 'stalls'
      reached = Promise.withResolvers()
    },
    stalled: () => reached.promise,
    resume() {
      left = Number.POSITIVE_INFINITY
      gate?.resolve()
      gate = undefined
      reached = Promise.withResolvers()
    },
  }
}
