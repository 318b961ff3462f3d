import type { Ledger } from '@sluice/ledger'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { arrival, beatMs, held, LedgerFixture } from './ledger-fixture.ts'
import { type StandIns, startStorage } from './storage-stand-ins.ts'

let stores: StandIns
let fixture: LedgerFixture
let ledger: Ledger
beforeAll(async () => {
  stores = await startStorage()
})
beforeEach(async () => {
  fixture = await LedgerFixture.over(stores)
  ledger = fixture.worker()
})
afterEach(async () => {
  await stores.heal()
  await fixture.close()
})
afterAll(() => stores.stop())

/** Moves the clock on until the promise has settled, as the waits between tries need it. */
async function inTime<T>(promise: Promise<T>): Promise<T> {
  const state = { settled: false }
  const done = promise.finally(() => (state.settled = true))
  done.catch(() => undefined)
  for (let passedMs = 0; !state.settled && passedMs < 60_000; passedMs += 100) await fixture.clock.advance(100)
  return done
}

const lostAnswer = (method: string) =>
  stores.fault({ type: 'drop', phase: 'response', method, path: '/docs', count: 1 })
const away = (method: string, count: number) => stores.fault({ type: 'unavailable', method, path: '/docs', count })

describe('an answer of Cosmos that got lost', () => {
  it('to accept: the caller asks again with the same key and finds its request', async () => {
    const input = arrival()
    await lostAnswer('POST')
    await expect(ledger.accept(input)).rejects.toMatchObject({ code: 'storage_unavailable' })
    expect(await ledger.accept(input)).toMatchObject({ created: false, row: { status: 'accepted' } })
  })

  it.each([
    ['POST', false],
    ['PATCH', true],
  ])('to a claim (%s): it is held all the same', async (method, stored) => {
    const input = arrival()
    if (stored) await ledger.accept(input)
    await lostAnswer(method)
    const claim = held(await inTime(ledger.claim(fixture.claimInput(input, { expectExisting: stored }))))
    expect(claim.row).toMatchObject({ status: 'running', fence: 1, attempts: 1 })
    expect(await ledger.finish(claim, { status: 'succeeded' })).toMatchObject({ status: 'succeeded' })
  })

  it('to finish: the stored result is its own', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    await lostAnswer('PATCH')
    const row = await inTime(ledger.finish(claim, { status: 'succeeded', modelMs: 7 }))
    expect(row.result?.sluice.timings_ms.model).toBe(7)
    expect(await fixture.row(ledger, row)).toEqual(row)
  })

  it.each(['park', 'giveBack'] as const)('to %s: it counts once', async (end) => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    await lostAnswer('PATCH')
    const row = await inTime(
      end === 'park' ? ledger.park(claim, { notBeforeMs: fixture.clock.now() }) : ledger.giveBack(claim),
    )
    expect(row).toMatchObject({ status: end === 'park' ? 'waiting' : 'accepted', attempts: 0, fence: 1 })
  })
})

describe('while Cosmos is away', () => {
  it('finish goes on trying and aborts nothing', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    await away('PATCH', 6)
    expect(await inTime(ledger.finish(claim, { status: 'succeeded' }))).toMatchObject({ status: 'succeeded' })
    expect(claim.signal.aborted).toBe(false)
  })

  it('finish gives up in the end and stops beating, so that a sweeper takes the row over', async () => {
    const hasty = fixture.worker({ insistMs: 1_000 })
    const claim = held(await hasty.claim(fixture.claimInput(arrival())))
    await away('PATCH', 20)
    const failed = inTime(hasty.finish(claim, { status: 'succeeded' }))
    await expect(failed).rejects.toMatchObject({ code: 'storage_unavailable' })
    expect(fixture.clock.pending).toBe(0)
  })

  it('a beat that fails loses nothing', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    await away('PATCH', 2)
    await fixture.clock.advance(beatMs)
    await vi.waitFor(
      async () => {
        await fixture.clock.advance(1_000)
        expect((await fixture.row(ledger, claim.row)).beat).toBeGreaterThan(0)
      },
      { timeout: 5_000, interval: 5 },
    )
    expect(claim.signal.aborted).toBe(false)
    claim.release()
  })

  it('flips wait and are written later', async () => {
    const row = await ledger.finish(held(await ledger.claim(fixture.claimInput(arrival()))), { status: 'failed' })
    await away('POST', 1)
    ledger.markPublished(row)
    await vi.waitFor(
      async () => {
        await fixture.clock.advance(1_000)
        expect((await fixture.row(ledger, row)).published).toBe(true)
      },
      { timeout: 15_000, interval: 20 },
    )
  })
})
