import { type AdmissionOptions, assumeIdle, createAdmission, type Reservation } from '@sluice/admission'
import { systemClock } from '@sluice/resilience'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

let redis: PrivateRedis
let log: string[]
const opened: { close(): void }[] = []

beforeEach(async () => {
  redis = await startPrivateRedis()
  log = []
})
afterEach(async () => {
  for (const one of opened.splice(0)) one.close()
  await redis.close()
})

const quota = { name: 'a', tokensPerMinute: 6_000, requestsPerMinute: 6_000 }

function worker(options: Partial<AdmissionOptions> = {}) {
  const logger = {
    info: (_fields: object, message: string) => void log.push(message),
    warn: (_fields: object, message: string) => void log.push(message),
  }
  const admission = createAdmission({
    redis: redis.connect(),
    clock: systemClock,
    logger,
    deadlineMs: 300,
    retryMs: 50,
    ...options,
  })
  opened.push(admission)
  return admission
}

const waitOf = (answer: Reservation): number => (answer.kind === 'later' ? answer.afterMs : 0)

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`timed out; log: ${log.join(' | ')}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

describe('a Redis that lost its memory', () => {
  it('counts every window as full and ramps it up, for tokens and for calls', async () => {
    let now = 1_700_000_000_000
    const admission = worker({ time: () => now, deadlineMs: 10_000 })
    const first = await admission.reserve({ candidates: [quota], tokens: 600 })
    // A tenth of the tokens is free after a tenth of the window, give or take the rounding of one token.
    expect(Math.abs(waitOf(first) - 6_100)).toBeLessThanOrEqual(10)
    now += waitOf(first)
    expect((await admission.reserve({ candidates: [quota], tokens: 600 })).kind).toBe('granted')
    expect(Math.abs(waitOf(await admission.reserve({ candidates: [quota], tokens: 600 })) - 6_100)).toBeLessThanOrEqual(
      10,
    )

    await redis.client.flushall()
    expect(Math.abs(waitOf(await admission.reserve({ candidates: [quota], tokens: 600 })) - 6_100)).toBeLessThanOrEqual(
      10,
    )
    const slow = { name: 'slow', tokensPerMinute: 1_000_000, requestsPerMinute: 60 }
    expect(waitOf(await admission.reserve({ candidates: [slow], tokens: 1 }))).toBe(1_040)
  })

  it('starts with empty windows when the installer says that nobody called, but only the first time', async () => {
    await assumeIdle(redis.client)
    const admission = worker()
    expect((await admission.reserve({ candidates: [quota], tokens: 6_000 })).kind).toBe('granted')
    await assumeIdle(redis.client)
    expect((await admission.reserve({ candidates: [quota], tokens: 1 })).kind).toBe('later')
  })

  it('ends the ramp early when an answer says what is really left', async () => {
    let now = 1_700_000_000_000
    const admission = worker({ time: () => now, deadlineMs: 10_000 })
    await admission.reserve({ candidates: [quota], tokens: 10 })
    now += 1_000
    const grant = await admission.reserve({ candidates: [quota], tokens: 10 })
    if (grant.kind !== 'granted') throw new Error('expected room for ten tokens')
    await admission.observed(grant, { remainingTokens: 5_990 })
    expect((await admission.reserve({ candidates: [quota], tokens: 5_990 })).kind).toBe('granted')
  })

  it('gives nothing away when the clock is set back a little', async () => {
    let now = 1_700_000_000_000
    const admission = worker({ time: () => now, deadlineMs: 10_000 })
    // Loads the script of the view as well: its first run is sent twice, and the second one would come with an old time.
    await admission.states([quota])
    await admission.reserve({ candidates: [quota], tokens: 1 })
    now += 100_000
    expect((await admission.reserve({ candidates: [quota], tokens: 6_000 })).kind).toBe('granted')
    now -= 30_000
    expect(await admission.reserve({ candidates: [quota], tokens: 1 })).toMatchObject({
      kind: 'later',
      afterMs: 91_000,
    })
    now += 91_000
    expect((await admission.reserve({ candidates: [quota], tokens: 6_000 })).kind).toBe('granted')
  })

  it('starts over when the clock was set back by more than its windows, instead of standing still', async () => {
    let now = 1_700_000_000_000
    const admission = worker({ time: () => now, deadlineMs: 10_000 })
    // Loads the script of the view as well: its first run is sent twice, and the second one would come with an old time.
    await admission.states([quota])
    await admission.reserve({ candidates: [quota], tokens: 1 })
    now += 3_600_000
    expect((await admission.reserve({ candidates: [quota], tokens: 6_000 })).kind).toBe('granted')
    now -= 3_600_000
    const wait = waitOf(await admission.reserve({ candidates: [quota], tokens: 6_000 }))
    expect(wait).toBeLessThanOrEqual(61_000)
    now += wait
    expect((await admission.reserve({ candidates: [quota], tokens: 6_000 })).kind).toBe('granted')
  })
})

describe('what others use', () => {
  it('shrinks the room by what the provider counted and nobody here spent', async () => {
    await assumeIdle(redis.client)
    const admission = worker()
    const grant = await admission.reserve({ candidates: [quota], tokens: 1_000 })
    if (grant.kind !== 'granted') throw new Error('expected room')
    await admission.observed(grant, { remainingTokens: 2_000 })
    expect((await admission.reserve({ candidates: [quota], tokens: 2_500 })).kind).toBe('later')
    expect((await admission.reserve({ candidates: [quota], tokens: 1_900 })).kind).toBe('granted')
  })

  it('is not guessed from an answer that agrees, or that says nothing', async () => {
    await assumeIdle(redis.client)
    const admission = worker()
    const grant = await admission.reserve({ candidates: [quota], tokens: 1_000 })
    if (grant.kind !== 'granted') throw new Error('expected room')
    await admission.observed(grant, { remainingTokens: 5_000 })
    await admission.observed(grant, {})
    expect((await admission.reserve({ candidates: [quota], tokens: 5_000 })).kind).toBe('granted')
  })
})

describe('a Redis out of reach', () => {
  it('leaves each worker half of its share, pays back what was spent, and says so once each way', async () => {
    await assumeIdle(redis.client)
    const connection = redis.connect()
    const admission = worker({ redis: connection, share: 0.5 })
    await admission.reserve({ candidates: [quota], tokens: 100 })
    connection.disconnect()

    let granted = 0
    await until(async () => {
      const answer = await admission.reserve({ candidates: [quota], tokens: 100 })
      if (answer.kind === 'granted') granted += 100
      return answer.kind === 'later'
    })
    // Half of a half of 6,000, less what it had spent through Redis before.
    expect(granted).toBe(1_400)
    expect(log).toEqual(['Redis out of reach: quotas by own windows'])

    await connection.connect()
    await until(() => log.length > 1)
    expect(log).toEqual(['Redis out of reach: quotas by own windows', 'Redis is back: quotas are shared again'])
    // Another worker sees the debt.
    const other = worker()
    expect((await other.reserve({ candidates: [quota], tokens: 6_000 - 1_500 + 1 })).kind).toBe('later')
    expect((await other.reserve({ candidates: [quota], tokens: 6_000 - 1_500 })).kind).toBe('granted')
  })

  it('leaves each worker half of its share of slots and of the limits of a tenant, too', async () => {
    await assumeIdle(redis.client)
    const connection = redis.connect()
    const admission = worker({ redis: connection })
    const wide = { ...quota, tokensPerMinute: 1_000_000, maxConcurrency: 8 }
    const loose = { ...wide, name: 'b', maxConcurrency: undefined }
    const contoso = { name: 'contoso', requestsPerMinute: 12, tokensPerMinute: 10_000 }
    const fabrikam = { name: 'fabrikam', concurrency: 4 }
    const ask = (candidate: typeof wide | typeof loose, share?: { name: string }, tokens = 1) =>
      admission.reserve({ candidates: [candidate], tenant: share === undefined ? [] : [share], tokens })
    const granted = async (times: number, ...asked: Parameters<typeof ask>) => {
      for (let count = 0; count < times; count++) expect((await ask(...asked)).kind).toBe('granted')
    }
    // What was taken through Redis counts.
    await granted(1, wide, fabrikam)
    await granted(1, loose, contoso)
    connection.disconnect()

    await granted(1, wide, fabrikam)
    expect(await ask(loose, fabrikam)).toMatchObject({ kind: 'later', reason: 'tenant' })
    await granted(2, wide)
    expect(await ask(wide)).toMatchObject({ kind: 'later', reason: 'concurrency' })
    expect(await ask(loose, contoso, 5_000)).toMatchObject({ kind: 'later', reason: 'tenant' })
    await granted(5, loose, contoso)
    expect(await ask(loose, contoso)).toMatchObject({ kind: 'later', reason: 'tenant' })
  })

  it('keeps a worker away from a deployment that fails again and again', async () => {
    await assumeIdle(redis.client)
    const connection = redis.connect()
    const admission = worker({ redis: connection })
    connection.disconnect()
    for (let calls = 0; calls < 5; calls++) {
      const answer = await admission.reserve({ candidates: [quota], tokens: 1 })
      if (answer.kind === 'granted') answer.end({ outcome: 'model_unavailable', ms: 5 })
    }
    const spare = { ...quota, name: 'b' }
    expect(await admission.reserve({ candidates: [quota, spare], tokens: 1 })).toMatchObject({ deployment: 'b' })
  })

  it('goes on when a killed Redis comes back empty, from full windows', async () => {
    await assumeIdle(redis.client)
    const admission = worker()
    await redis.kill()
    expect((await admission.reserve({ candidates: [quota], tokens: 3_000 })).kind).toBe('granted')
    await redis.restart()
    await until(() => log.length > 1)
    const wait = waitOf(await admission.reserve({ candidates: [quota], tokens: 600 }))
    expect(wait).toBeGreaterThan(30_000)
  })

  it('remembers a cool-down', async () => {
    await assumeIdle(redis.client)
    const admission = worker()
    const grant = await admission.reserve({ candidates: [quota], tokens: 1 })
    if (grant.kind !== 'granted') throw new Error('expected room')
    await redis.kill()
    await admission.cooled(grant, 60_000)
    expect((await admission.reserve({ candidates: [quota], tokens: 1 })).kind).toBe('later')
  })

  it('does not hide an abort', async () => {
    const admission = worker({ deadlineMs: 60_000 })
    await redis.client.call('client', 'pause', '60000')
    const reason = new Error('enough')
    const controller = new AbortController()
    const pending = admission.reserve({ candidates: [quota], tokens: 1, signal: controller.signal })
    controller.abort(reason)
    await expect(pending).rejects.toBe(reason)
    expect(log).toEqual([])
  })
})
