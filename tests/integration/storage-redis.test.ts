import { connectRedis, type RedisConnections } from '@sluice/storage'
import { createLogger } from '@sluice/telemetry'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

describe('connections to Redis', () => {
  let server: PrivateRedis
  let redis: RedisConnections
  let lines: { msg: string; role: string }[]
  beforeEach(async () => {
    server = await startPrivateRedis()
    lines = []
    const destination = { write: (line: string) => void lines.push(JSON.parse(line) as { msg: string; role: string }) }
    const logger = createLogger({ service: 'test', destination })
    redis = connectRedis(server.client.options.path ?? '', { logger, commandTimeoutMs: 300 })
    await redis.ping()
  })
  afterEach(async () => {
    await redis.close()
    await server.close()
  })

  const said = (msg: string) => lines.filter((line) => line.msg === msg && line.role === 'commands').length

  it('fails a command within its timeout while Redis is away, and works again afterwards', async () => {
    await redis.client.set('a', '1')
    await server.kill()
    await vi.waitFor(() => expect(said('redis connection lost')).toBe(1), 5_000)
    for (let attempt = 0; attempt < 5; attempt++) {
      const startedAt = performance.now()
      await expect(redis.client.get('a')).rejects.toThrow()
      expect(performance.now() - startedAt).toBeLessThan(2_000)
    }
    await expect(redis.ping()).rejects.toMatchObject({ code: 'storage_unavailable' })
    await server.restart()
    await vi.waitFor(() => redis.ping(), { timeout: 5_000, interval: 20 })
    expect(await redis.client.set('a', '2')).toBe('OK')
    // Once lost, once restored, however many attempts there were in between.
    expect([said('redis connection lost'), said('redis connection restored')]).toEqual([1, 1])
  })

  it('lets BullMQ block for longer than a command may take', async () => {
    const blocking = redis.forBullMq()
    expect(blocking.options.maxRetriesPerRequest).toBeNull()
    const popped = blocking.blpop('queue', 10)
    const startedAt = performance.now()
    await vi.waitFor(() => expect(performance.now() - startedAt).toBeGreaterThan(400), 2_000)
    await redis.client.rpush('queue', 'job')
    expect(await popped).toEqual(['queue', 'job'])
  })

  it('closes while Redis is away', async () => {
    const blocking = redis.forBullMq()
    const popped = blocking.blpop('queue', 0).catch((error: Error) => error.message)
    await server.kill()
    await redis.close()
    expect(await popped).toMatch(/closed/i)
    expect([redis.client.status, blocking.status]).toEqual(['end', 'end'])
  })
})
