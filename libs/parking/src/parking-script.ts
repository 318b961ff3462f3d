import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { AppError } from '@sluice/errors'
import { type Clock, withDeadline } from '@sluice/resilience'

/** The part of a Redis client (ioredis) that the index needs. */
export interface ScriptingRedis {
  evalsha(sha1: string, numberOfKeys: number, ...keysAndArguments: (string | number)[]): Promise<unknown>
  eval(script: string, numberOfKeys: number, ...keysAndArguments: (string | number)[]): Promise<unknown>
}

export type Operation =
  | 'park'
  | 'next'
  | 'later'
  | 'taken'
  | 'drop'
  | 'place'
  | 'expect'
  | 'look'
  | 'pause'
  | 'purge'
  | 'served_by'
  | 'begin'
  | 'go_on'
  | 'done'

const parts = ['index.lua', 'order.lua', 'estimate.lua', 'operations.lua']
const text = parts.map((part) => readFileSync(new URL(`./${part}`, import.meta.url), 'utf8')).join('\n')
const sha1 = createHash('sha1').update(text).digest('hex')

// The braces are a hash tag: a Redis cluster keeps every key that begins so on one node, as a script requires. The keys
// behind the prefix are made by the script, because which of them it needs depends on what it finds.
const prefix = '{sluice:parking}'

export type ParkingScript = <T>(operation: Operation, input: object) => Promise<T>

/**
 * Runs the index's script; one operation, one round trip.
 * @param options `time` replaces Redis TIME, epoch ms, where time is simulated
 * @throws AppError `storage_unavailable` when Redis fails or does not answer in time
 */
export function createParkingScript(options: {
  redis: ScriptingRedis
  clock: Clock
  deadlineMs: number
  time?: (() => number) | undefined
}): ParkingScript {
  const { redis, clock, deadlineMs, time } = options

  const evaluate = async (args: string[]): Promise<unknown> => {
    try {
      return await redis.evalsha(sha1, 1, prefix, ...args)
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
      return redis.eval(text, 1, prefix, ...args)
    }
  }

  return async <T>(operation: Operation, input: object): Promise<T> => {
    const args = [operation, JSON.stringify(time === undefined ? input : { ...input, now: time() })]
    const late = () => new AppError('storage_unavailable', `Redis did not answer within ${deadlineMs} ms.`)
    try {
      return JSON.parse(String(await withDeadline(deadlineMs, undefined, () => evaluate(args), late, clock))) as T
    } catch (cause) {
      if (cause instanceof AppError) throw cause
      throw new AppError('storage_unavailable', `Redis could not ${operation}.`, { cause })
    }
  }
}
