import { AppError } from '@sluice/errors'
import { ManualClock } from '@sluice/resilience'
import { describe, expect, it } from 'vitest'
import { insist } from './insist.ts'

const away = () => new AppError('storage_unavailable', 'away')

describe('insist', () => {
  it('repeats a write while storage is away', async () => {
    const clock = new ManualClock()
    let writes = 0
    const written = insist(clock, 30_000, async () => {
      if (++writes < 6) throw away()
      return 'stored'
    })
    await clock.advance(30_000)
    expect(await written).toBe('stored')
    expect(writes).toBe(6)
    expect(clock.pending).toBe(0)
  })

  it('gives up with the last error when its time is over', async () => {
    const clock = new ManualClock()
    const startedMs = clock.monotonic()
    let lastMs = 0
    const written = insist(clock, 10_000, async () => {
      lastMs = clock.monotonic() - startedMs
      throw away()
    }).catch((error: unknown) => error)
    await clock.advance(20_000)
    expect(await written).toMatchObject({ code: 'storage_unavailable' })
    expect(lastMs).toBeGreaterThan(5_000)
    expect(lastMs).toBeLessThan(10_000)
    expect(clock.pending).toBe(0)
  })

  it.each([new AppError('lease_lost', 'x'), new TypeError('x')])('does not repeat after %s', async (error) => {
    let writes = 0
    const written = insist(new ManualClock(), 10_000, async () => {
      writes++
      throw error
    })
    await expect(written).rejects.toBe(error)
    expect(writes).toBe(1)
  })
})
