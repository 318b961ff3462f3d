import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { AppError } from '@sluice/errors'
import { type Clock, withDeadline } from '@sluice/resilience'
import { windows } from './windows.ts'

/** The part of a Redis client (ioredis) that admission needs. */
export interface ScriptingRedis {
  evalsha(sha1: string, numberOfKeys: number, ...keysAndArguments: (string | number)[]): Promise<unknown>
  eval(script: string, numberOfKeys: number, ...keysAndArguments: (string | number)[]): Promise<unknown>
}

const text = readFileSync(new URL('./admission.lua', import.meta.url), 'utf8')
const sha1 = createHash('sha1').update(text).digest('hex')

// The braces are a hash tag: a Redis cluster keeps all these keys on one node, as a script requires.
const prefix = '{sluice:admission}'
const epochKey = `${prefix}:epoch`

type Operation = 'reserve' | 'cool' | 'observe' | 'owe'

export interface QuotaScript {
  /** @throws AppError `storage_unavailable` when Redis fails or does not answer in time; the signal's reason. */
  run(
    operation: Operation,
    deployments: readonly string[],
    operands: readonly number[],
    signal?: AbortSignal,
  ): Promise<readonly number[]>
}

/** Runs admission.lua; `time` replaces Redis TIME (epoch ms) where time is simulated. */
export function createQuotaScript(options: {
  redis: ScriptingRedis
  clock: Clock
  deadlineMs: number
  time?: (() => number) | undefined
}): QuotaScript {
  const { redis, clock, deadlineMs, time } = options
  const spans = [windows.tokens, windows.second, windows.tenSeconds, windows.minute]

  const evaluate = async (keys: string[], args: (string | number)[]): Promise<unknown> => {
    try {
      return await redis.evalsha(sha1, keys.length, ...keys, ...args)
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
      return redis.eval(text, keys.length, ...keys, ...args)
    }
  }

  return {
    async run(operation, deployments, operands, signal) {
      const keys = [epochKey]
      for (const name of deployments) keys.push(`${prefix}:state:${name}`, `${prefix}:log:${name}`)
      const args = [operation, time === undefined ? '' : time(), ...spans, ...operands]
      try {
        const late = () => new AppError('storage_unavailable', `Redis did not answer within ${deadlineMs} ms.`)
        return (await withDeadline(deadlineMs, signal, () => evaluate(keys, args), late, clock)) as readonly number[]
      } catch (cause) {
        signal?.throwIfAborted()
        if (cause instanceof AppError) throw cause
        throw new AppError('storage_unavailable', 'Redis could not reserve quota.', { cause })
      }
    },
  }
}

/**
 * Declares that nobody called the deployments in the last minute, as the installer of a new stack knows: without an
 * epoch key Redis counts as having lost its memory, and quotas ramp up over a minute. An epoch that is there stays.
 */
export async function assumeIdle(redis: ScriptingRedis): Promise<void> {
  const script =
    "local time = redis.call('TIME'); return redis.call('SET', KEYS[1], string.format('%.0f', time[1] * 1000 - ARGV[1]), 'NX')"
  await redis.eval(script, 1, epochKey, windows.tokens)
}
