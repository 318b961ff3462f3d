import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'

// The generic cell rate algorithm: a key holds the moment at which its allowance is whole again. A request moves it on
// by its part of a minute and is refused when that leads more than a minute ahead. By Redis' own clock, so that every
// instance counts alike. Microseconds, which a double holds exactly.
const lua = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost = tonumber(ARGV[1])
local fullAt, wait = {}, 0
for i, key in ipairs(KEYS) do
  local at = tonumber(redis.call('GET', key) or now)
  if at < now then at = now end
  fullAt[i] = at + cost * 60000000 / tonumber(ARGV[i + 1])
  wait = math.max(wait, fullAt[i] - now - 60000000)
end
local refused = wait > 500
local answer = { tostring(refused and wait or 0) }
for i, key in ipairs(KEYS) do
  local used = fullAt[i] - now
  if refused then
    used = used - cost * 60000000 / tonumber(ARGV[i + 1])
  elseif cost > 0 then
    redis.call('SET', key, string.format('%.0f', fullAt[i]), 'PX', math.ceil(used / 1000) + 1000)
  end
  answer[i + 1] = tostring(used)
end
return answer`
const sha = createHash('sha1').update(lua).digest('hex')

/** @returns counts on the keys, all or none: the wait in ms (0: counted), then how long each takes to be whole again */
export function submitScript(redis: Redis) {
  return async (allowances: readonly { key: string; perMinute: number }[], cost: 0 | 1): Promise<number[]> => {
    const keys = allowances.map(({ key }) => key)
    const rates = allowances.map(({ perMinute }) => perMinute)
    const run = (command: 'evalsha' | 'eval') =>
      redis[command](command === 'eval' ? lua : sha, keys.length, ...keys, cost, ...rates) as Promise<string[]>
    const answer = await run('evalsha').catch((error: unknown) => {
      if (error instanceof Error && error.message.startsWith('NOSCRIPT')) return run('eval')
      throw error
    })
    return answer.map((micros) => Number(micros) / 1000)
  }
}
