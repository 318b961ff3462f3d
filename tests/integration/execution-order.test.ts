import { quotaOf } from '@sluice/admission'
import { describe, expect, it } from 'vitest'
import { useExecutionBench } from './execution-bench.ts'
import { chat } from './execution-fixture.ts'

const bench = useExecutionBench()
const { start, on, called } = bench

describe('a conversation', () => {
  const deployments = () => [on('mini', 'swedencentral', { tier: 'small' }), on('mini', 'eastus2', { tier: 'small' })]

  it('keeps its region, which is a preference and each tenant’s own', async () => {
    const { done } = await start(deployments())
    const options = { conversation: 'conv-1' }
    await done(chat('hi'), { options: { ...options, region: { only: ['eastus2'] } } })
    for (let turn = 0; turn < 4; turn++) await done(chat(`turn ${turn}`), { options })
    expect(new Set(await called())).toEqual(new Set(['mini-eastus2']))
    const [ttl] = await Promise.all(
      (await bench.redis.client.keys('sluice:affinity:*')).map((key) => bench.redis.client.ttl(key)),
    )
    expect(ttl).toBeGreaterThan(23 * 3600)
    await bench.twin.post('faults', { type: 'status', status: 503, resource: 'eastus2' })
    expect((await done(chat('on'), { options })).decision.region).toBe('swedencentral')
    expect(await bench.redis.client.get('sluice:affinity:contoso|conv-1')).toBe('swedencentral')
    expect(await bench.redis.client.get('sluice:affinity:fabrikam|conv-1')).toBeNull()
  })

  it('costs others no look-up', async () => {
    const { done } = await start(deployments())
    await done(chat('hi'))
    expect(await bench.redis.client.keys('sluice:affinity:*')).toEqual([])
  })
})

describe('a deployment that is out of service', () => {
  it('is passed over for another tier, where the request may use one', async () => {
    const { run, done, admission } = await start([
      on('nano', 'swedencentral', { tier: 'small' }),
      on('mini', 'eastus2', { tier: 'medium' }),
    ])
    await admission.drain('nano-swedencentral', { reason: 'test' })
    expect((await done(chat('hi'))).decision).toMatchObject({ deployment: 'mini-eastus2', attempts: [{ status: 200 }] })
    expect(await run(chat('hi', { model: 'small' }))).toMatchObject({ kind: 'later', reason: 'failing' })
    await admission.undrain('nano-swedencentral')
    expect((await done(chat('hi', { model: 'small' }))).decision.deployment).toBe('nano-swedencentral')
  })
})

describe('spilling', () => {
  const spilling = () => {
    const quota = { tokens_per_minute: 500, requests_per_minute: 600 }
    const ptu = on('mini', 'swedencentral', { tier: 'small', kind: 'ptu', quota })
    return { ptu, deployments: [ptu, on('mini', 'eastus2', { tier: 'small' })] }
  }
  const only = { routing: { spill: ['interactive'] } }

  it('is for the priorities that may; others wait for provisioned capacity', async () => {
    const { ptu, deployments } = spilling()
    const { run, done, admission } = await start(deployments, only)
    const taken = await admission.reserve({ candidates: [quotaOf(ptu)], tokens: 480 })
    if (taken.kind !== 'granted') throw new Error('expected room')
    const large = chat('hi', { max_tokens: 400 })
    expect(await run(large, { options: { priority: 'bulk' } })).toMatchObject({ kind: 'later', reason: 'full' })
    expect(await run(large, { priority: 'standard' })).toMatchObject({ kind: 'later' })
    expect((await done(large, { options: { priority: 'interactive' } })).decision.region).toBe('eastus2')
    taken.end({ outcome: 'aborted', ms: 0 })
  })

  it('is not failing over: provisioned capacity that fails is left by everybody', async () => {
    const { done } = await start(spilling().deployments, only)
    const bulk = { options: { priority: 'bulk' as const } }
    expect((await done(chat('hi'), bulk)).decision.region).toBe('swedencentral')
    await bench.twin.post('faults', { type: 'status', status: 503, resource: 'swedencentral' })
    expect((await done(chat('hi'), bulk)).decision.region).toBe('eastus2')
  })
})
