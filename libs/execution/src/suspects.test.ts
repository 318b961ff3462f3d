import { ManualClock } from '@sluice/resilience'
import { describe, expect, it } from 'vitest'
import { createSuspects } from './suspects.ts'

const failedAt = (deployment: string, status = 500) => ({ deployment, region: 'north', status, ms: 1 })

describe('a tenant whose requests make deployments fail', () => {
  it('is to blame once one of them failed at two, while these answer others', async () => {
    const clock = new ManualClock()
    const suspects = createSuspects(clock)
    suspects.answered('a', 'good')
    suspects.answered('b', 'good')
    expect(suspects.isToBlame('a', 'bad', 500, [])).toBe(false)
    expect(suspects.isToBlame('b', 'bad', 500, [failedAt('a')])).toBe(true)
    expect(suspects.isToBlame('a', 'bad', 500, [])).toBe(true)
    expect(suspects.isToBlame('a', 'good', 500, [])).toBe(false)
    // Its own answers do not speak for a deployment.
    suspects.answered('a', 'bad')
    expect(suspects.isToBlame('a', 'bad', 500, [])).toBe(true)
    await clock.advance(10_000)
    suspects.answered('a', 'bad')
    expect(suspects.isToBlame('a', 'bad', 500, [])).toBe(false)
    suspects.answered('a', 'good')
    expect(suspects.isToBlame('a', 'bad', 500, [])).toBe(true)
    await clock.advance(55_000)
    suspects.answered('a', 'good')
    expect(suspects.isToBlame('a', 'bad', 500, [])).toBe(false)
  })

  it('is not to blame for an outage, nor for a deployment that is away', () => {
    const suspects = createSuspects(new ManualClock())
    expect(suspects.isToBlame('b', 'one', 500, [failedAt('a')])).toBe(false)
    suspects.answered('b', 'other')
    expect(suspects.isToBlame('b', 'one', 503, [failedAt('a')])).toBe(false)
    expect(suspects.isToBlame('b', 'two', 500, [failedAt('a', 503), failedAt('b')])).toBe(false)
  })

  it('is forgotten before there are too many of them', () => {
    const suspects = createSuspects(new ManualClock())
    suspects.answered('b', 'good')
    for (let n = 0; n <= 1_000; n++) suspects.isToBlame('b', `bad-${n}`, 500, [failedAt('a')])
    expect(suspects.isToBlame('b', 'bad-0', 500, [])).toBe(false)
    expect(suspects.isToBlame('b', 'bad-1', 500, [])).toBe(true)
  })
})
