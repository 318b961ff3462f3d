import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { AppError } from '@sluice/errors'
import { type Clock, withDeadline } from '@sluice/resilience'
import { windows } from './windows.ts'

/** The part of a Redis client (ioredis) that admission needs. */
export interface ScriptingRedis {
  evalsha(sha1: string, numberOfKeys: number, ...keysAndArguments: (string | number)[]): Promise<unknown>
  eval(script: string, numberOfKeys: number, ...keysAndArguments: (string | number)[]): Promise<unknown>
  /** The connection, while there is one. */
  readonly stream?: { cork(): void; uncork(): void } | undefined
}

type Evaluate = (redis: ScriptingRedis, keys: readonly string[], args: readonly (string | number)[]) => Promise<unknown>

/**
 * A Redis script of several files, run by its hash. Settings become part of the text: a number there costs nothing,
 * while a table of them, or one more argument to parse, would be paid for with every call.
 */
export function luaScript(files: readonly string[], settings: Readonly<Record<string, number>> = {}): Evaluate {
  const parts = files.map((file) => readFileSync(new URL(`./lua/${file}`, import.meta.url), 'utf8'))
  const text = parts.join('\n').replaceAll(/\bsettings\.([a-zA-Z]+)/g, (_, name: string) => {
    if (settings[name] === undefined) throw new RangeError(`the script knows no setting ${name}`)
    return String(settings[name])
  })
  const sha1 = createHash('sha1').update(text).digest('hex')
  let sent = false
  return async (redis, keys, args) => {
    // With its text the first time: one that is refused for its hash comes after what was sent behind it.
    if (!sent) {
      sent = true
      return redis.eval(text, keys.length, ...keys, ...args)
    }
    try {
      return await redis.evalsha(sha1, keys.length, ...keys, ...args)
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
      return redis.eval(text, keys.length, ...keys, ...args)
    }
  }
}

// The braces are a hash tag: a Redis cluster keeps all these keys on one node, as a script requires.
const prefix = '{sluice:admission}'
const epochKey = `${prefix}:epoch`
const drainsKey = `${prefix}:drains`

export const slotsKey = {
  deployment: (name: string): string => `${prefix}:slots:${name}`,
  tenant: (name: string): string => `${prefix}:tenant-slots:${name}`,
}
export const lessonsKey = (name: string): string => `${prefix}:lessons:${name}`
const deploymentKeys = (name: string) => [`${prefix}:state:${name}`, `${prefix}:log:${name}`, slotsKey.deployment(name)]
const tenantKeys = (name: string) => [
  `${prefix}:tenant-state:${name}`,
  `${prefix}:tenant-log:${name}`,
  slotsKey.tenant(name),
]

type Operation = 'reserve' | 'finish' | 'settle' | 'renew' | 'cool' | 'observe' | 'owe' | 'look' | 'drain' | 'undrain'

interface ScriptCall {
  deployments?: readonly string[]
  shares?: readonly string[]
  /** More keys, as they are. */
  more?: readonly string[]
  operands: readonly (number | string)[]
  /** The simulated time that it is about, where it was asked for earlier. */
  at?: number | undefined
  signal?: AbortSignal | undefined
}

/** @throws AppError `storage_unavailable` when Redis fails or does not answer in time; the signal's reason. */
export type QuotaScript = (operation: Operation, call: ScriptCall) => Promise<readonly unknown[]>

/** Runs admission's script; `time` replaces Redis TIME (epoch ms) where time is simulated. */
export function createQuotaScript(options: {
  redis: ScriptingRedis
  clock: Clock
  deadlineMs: number
  settings: Readonly<Record<string, number>>
  time?: (() => number) | undefined
}): QuotaScript {
  const { redis, clock, deadlineMs, settings, time } = options
  const basis = ['windows.lua', 'slots.lua', 'breaker.lua', 'tenants.lua']
  // Loading creates every function of a script anew with each call, so the one that each request waits for has no others.
  const reserve = luaScript([...basis, 'reserve.lua'], settings)
  const others = luaScript([...basis, 'learning.lua', 'operations.lua'], settings)

  return async (operation, { deployments = [], shares = [], more = [], operands, at = time?.(), signal }) => {
    const keys = [epochKey, drainsKey]
    for (const name of deployments) keys.push(...deploymentKeys(name))
    for (const name of shares) keys.push(...tenantKeys(name))
    keys.push(...more)
    const args = [operation, at ?? '', deployments.length, ...operands]
    const evaluate = operation === 'reserve' ? reserve : others
    try {
      const late = () => new AppError('storage_unavailable', `Redis did not answer within ${deadlineMs} ms.`)
      const answer = await withDeadline(deadlineMs, signal, () => evaluate(redis, keys, args), late, clock)
      return answer as readonly unknown[]
    } catch (cause) {
      signal?.throwIfAborted()
      if (cause instanceof AppError) throw cause
      throw new AppError('storage_unavailable', 'Redis could not reserve quota.', { cause })
    }
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
