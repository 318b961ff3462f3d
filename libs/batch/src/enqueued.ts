import type { Deployment } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { withDeadline } from '@sluice/resilience'
import type { Redis } from 'ioredis'
import type { BatchStore } from './batch-store.ts'

const deadlineMs = 2_000
// A field that no part is called: its presence tells a hash that was filled from one that Redis lost.
const known = ''

// -1: the hash is not known. Setting a part again replaces what it held, so a repeated reservation counts once.
const reserveScript = `
if redis.call('HEXISTS', KEYS[1], '') == 0 then return -1 end
local held = 0
local values = redis.call('HGETALL', KEYS[1])
for i = 1, #values, 2 do if values[i] ~= ARGV[1] then held = held + tonumber(values[i + 1]) end end
if held + tonumber(ARGV[2]) > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1`

/**
 * The enqueued tokens of each deployment: all its unfinished batches together may hold so many. Redis counts, in one
 * script a reservation; the parts' rows with `holds` are the truth, from which a hash that Redis lost is filled again.
 * A reservation made while that goes on may be missed for a moment; then the region itself refuses, and the part waits.
 */
export interface Enqueued {
  /** Tokens that are left, by deployment. @throws AppError `storage_unavailable` */
  headroom(deployments: readonly Deployment[]): Promise<Map<string, number>>
  /** @returns false when there is no room. @throws AppError `storage_unavailable` */
  reserve(deployment: Deployment, part: string, tokens: number): Promise<boolean>
  /** After the row stopped holding. A release that fails is made up for by `reconcile`. */
  release(deployment: string, part: string): Promise<void>
  /** Drops what no row holds and was there a round ago too: reservations of workers that died before their row did. */
  reconcile(deployments: readonly Deployment[]): Promise<void>
}

export function createEnqueued({ redis, store }: { redis: Redis; store: Pick<BatchStore, 'holding'> }): Enqueued {
  const keyOf = (deployment: string) => `sluice:batch:enqueued:{${deployment}}`
  let suspects = new Set<string>()

  const bounded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await withDeadline(deadlineMs, undefined, work, () => new Error('late'))
    } catch (cause) {
      throw new AppError('storage_unavailable', 'Redis could not count enqueued tokens.', { cause })
    }
  }
  const fill = async (deployment: string): Promise<void> => {
    const held = (await store.holding()).filter(({ regional }) => regional.deployment === deployment)
    const fields = held.flatMap(({ id, tokens }) => [id, String(tokens)])
    await bounded(() => redis.hset(keyOf(deployment), known, '0', ...fields))
  }
  const read = async (deployment: string): Promise<Record<string, string>> => {
    const found = await bounded(() => redis.hgetall(keyOf(deployment)))
    if (known in found) return found
    await fill(deployment)
    return bounded(() => redis.hgetall(keyOf(deployment)))
  }

  return {
    async headroom(deployments) {
      const left = deployments.map(async (deployment): Promise<[string, number]> => {
        const held = Object.values(await read(deployment.name)).reduce((sum, tokens) => sum + Number(tokens), 0)
        return [deployment.name, Math.max(0, (deployment.batch?.enqueued_tokens ?? 0) - held)]
      })
      return new Map(await Promise.all(left))
    },
    async reserve({ name, batch }, part, tokens) {
      const limit = batch?.enqueued_tokens ?? 0
      for (;;) {
        const answer = await bounded(() => redis.eval(reserveScript, 1, keyOf(name), part, tokens, limit))
        if (answer !== -1) return answer === 1
        await fill(name)
      }
    },
    async release(deployment, part) {
      await bounded(() => redis.hdel(keyOf(deployment), part)).catch(() => undefined)
    },
    async reconcile(deployments) {
      const held = new Set((await store.holding()).map(({ id, regional }) => `${regional.deployment} ${id}`))
      const found = new Set<string>()
      for (const { name } of deployments) {
        for (const part of Object.keys(await bounded(() => redis.hgetall(keyOf(name))))) {
          const entry = `${name} ${part}`
          if (part === known || held.has(entry)) continue
          if (suspects.has(entry)) await bounded(() => redis.hdel(keyOf(name), part))
          else found.add(entry)
        }
      }
      suspects = found
    },
  }
}
