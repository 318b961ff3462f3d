import type { Ledger, Row } from '@sluice/ledger'
import { AppError } from '@sluice/errors'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { arrival, beatMs, chat, held, leaseMs, LedgerFixture } from './ledger-fixture.ts'
import { type StandIns, startStorage } from './storage-stand-ins.ts'

let stores: StandIns
let fixture: LedgerFixture
let ledger: Ledger
let sweeper: ReturnType<LedgerFixture['sweeper']>
beforeAll(async () => {
  stores = await startStorage()
})
beforeEach(async () => {
  fixture = await LedgerFixture.over(stores)
  ledger = fixture.worker()
  sweeper = fixture.sweeper(ledger)
})
afterEach(() => fixture.close())
afterAll(() => stores.stop())

/** Lets the lease pass between two looks. */
async function sweepAfter(ms: number, by = sweeper): Promise<number> {
  await by.sweepOnce()
  await fixture.clock.advance(ms)
  return by.sweepOnce()
}

describe('a row that stood still', () => {
  it('accepted: is sent again, at growing intervals', async () => {
    const { row } = await ledger.accept(arrival())
    expect(await sweepAfter(leaseMs - 1)).toBe(0)
    await fixture.clock.advance(1)
    expect(await sweeper.sweepOnce()).toBe(1)
    expect(sweeper.resent).toMatchObject([{ id: row.id, status: 'accepted', body: row.body, fence: 0 }])
    // Sent once, the next time is due after two leases, the one after that after four.
    expect(await sweepAfter(2 * leaseMs - 1)).toBe(0)
    await fixture.clock.advance(1)
    expect(await sweeper.sweepOnce()).toBe(1)
    expect(await sweepAfter(4 * leaseMs - 1)).toBe(0)
    await fixture.clock.advance(1)
    expect(await sweeper.sweepOnce()).toBe(1)
  })

  it('running: is taken over under the next fence and sent again; its owner can store nothing any more', async () => {
    const input = arrival()
    const claim = held(await ledger.claim(fixture.claimInput(input)))
    claim.release()
    expect(await sweepAfter(leaseMs)).toBe(1)
    expect(sweeper.resent).toMatchObject([{ id: claim.row.id, status: 'accepted', fence: 2, owner: null, attempts: 1 }])
    await expect(ledger.finish(claim, { status: 'succeeded' })).rejects.toMatchObject({ code: 'lease_lost' })
    const successor = held(await ledger.claim(fixture.claimInput(input, { expectExisting: true })))
    expect(successor.row).toMatchObject({ fence: 3, attempts: 2 })
    successor.release()
  })

  it('cancel_requested: ends as cancelled, because its owner is gone', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    await ledger.cancel('contoso', claim.row.id)
    claim.release()
    expect(await sweepAfter(leaseMs)).toBe(1)
    expect(sweeper.published).toMatchObject([{ id: claim.row.id, status: 'cancelled', fence: 2 }])
    await expect(ledger.finish(claim, { status: 'succeeded' })).rejects.toMatchObject({ code: 'lease_lost' })
  })

  it('waiting: is left alone until its time has come', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    await ledger.park(claim, { notBeforeMs: fixture.clock.now() + 10 * leaseMs })
    expect(await sweepAfter(9 * leaseMs)).toBe(0)
    await fixture.clock.advance(leaseMs)
    expect(await sweepAfter(leaseMs)).toBe(1)
    expect(sweeper.resent).toMatchObject([{ id: claim.row.id, status: 'waiting' }])
  })

  it('terminal and unpublished: is published again until it is flipped', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    const row = await ledger.finish(claim, { status: 'succeeded' })
    const failing = fixture.sweeper(ledger, {
      publish: async () => {
        throw new AppError('queue_unavailable', 'away')
      },
    })
    expect(await sweepAfter(leaseMs, failing)).toBe(0)
    expect(await sweepAfter(2 * leaseMs)).toBe(1)
    expect(sweeper.published).toMatchObject([{ id: row.id, status: 'succeeded', result: row.result }])
    ledger.markPublished(row)
    await fixture.clock.advance(1_000)
    await vi.waitFor(async () => expect((await fixture.row(ledger, row)).published).toBe(true), 10_000)
    expect(await sweepAfter(64 * leaseMs)).toBe(0)
  })
})

describe('a row that moves', () => {
  it('is left to the owner that beats, for as long as it takes', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    for (let beats = 0; beats < 12; beats++) {
      await fixture.beat(ledger, claim)
      expect(await sweeper.sweepOnce()).toBe(0)
    }
    claim.release()
  })

  it('is not taken from an owner that could not beat because storage was away', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    claim.release()
    await sweeper.sweepOnce()
    const { sweeping } = ledger
    const blind = fixture.sweeper({
      sweeping: {
        ...sweeping,
        unsettled: (() => {
          let look = 0
          return async (input) => {
            if (++look === 2) throw new AppError('storage_unavailable', 'away')
            return sweeping.unsettled(input)
          }
        })(),
      },
    })
    await blind.sweepOnce()
    await fixture.clock.advance(leaseMs)
    expect(await blind.sweepOnce()).toBe(0)
    // The outage proves nothing about the owner: the lease begins anew.
    expect(await blind.sweepOnce()).toBe(0)
    expect(await sweepAfter(leaseMs, blind)).toBe(1)
  })
})

describe('a deadline', () => {
  const inOneMinute = () => chat('hi', { sluice: { deadline: new Date(fixture.clock.now() + 60_000).toISOString() } })

  it.each(['accepted', 'waiting'])('ends a request that is still %s then', async (status) => {
    const input = arrival({ line: inOneMinute() })
    const { row } = await ledger.accept(input)
    if (status === 'waiting') {
      const claim = held(await ledger.claim(fixture.claimInput(input, { expectExisting: true })))
      await ledger.park(claim, { notBeforeMs: fixture.clock.now() + 3_600_000 })
    }
    await fixture.clock.advance(60_000)
    expect(await sweeper.sweepOnce()).toBe(1)
    expect(sweeper.published).toMatchObject([
      { id: row.id, status: 'expired', result: { error: { code: 'deadline_exceeded' } } },
    ])
    expect(await ledger.claim(fixture.claimInput(input))).toMatchObject({ kind: 'finished' })
  })

  it('is left to others by a machine whose clock is off', async () => {
    const { row } = await ledger.accept(arrival({ line: inOneMinute() }))
    let trusted = false
    const doubtful = fixture.sweeper(ledger, { clockTrusted: () => trusted })
    await fixture.clock.advance(60_000)
    expect(await doubtful.sweepOnce()).toBe(0)
    trusted = true
    expect(await doubtful.sweepOnce()).toBe(1)
    expect(await fixture.row(ledger, row)).toMatchObject({ status: 'expired' })
  })

  it('does not end a request that runs', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival({ line: inOneMinute() }))))
    await fixture.clock.advance(60_000)
    expect(await sweeper.sweepOnce()).toBe(0)
    claim.release()
  })
})

describe('many sweepers', () => {
  it('send each row once and publish each result once', async () => {
    const accepted = await Promise.all(Array.from({ length: 20 }, async () => (await ledger.accept(arrival())).row))
    const finished = await Promise.all(
      Array.from({ length: 20 }, async () =>
        ledger.finish(held(await ledger.claim(fixture.claimInput(arrival()))), { status: 'succeeded' }),
      ),
    )
    const sweepers = Array.from({ length: 4 }, () => fixture.sweeper(fixture.worker()))
    for (const one of sweepers) await one.sweepOnce()
    await fixture.clock.advance(leaseMs)
    const moved = await Promise.all(sweepers.map((one) => one.sweepOnce()))
    expect(moved.reduce((a, b) => a + b)).toBe(40)
    const ids = (rows: Row[]) => rows.map(({ id }) => id).sort()
    expect(ids(sweepers.flatMap(({ resent }) => resent))).toEqual(ids(accepted))
    expect(ids(sweepers.flatMap(({ published }) => published))).toEqual(ids(finished))
  })
})

describe('a sweeper that runs', () => {
  it('looks at more rows than a page has, finds them by itself, and stops', async () => {
    const rows = await Promise.all(
      Array.from({ length: 450 }, async () => (await ledger.accept(arrival({ tenant: 'many' }))).row),
    )
    sweeper.start()
    await vi.waitFor(
      async () => {
        await fixture.clock.advance(beatMs)
        expect(new Set(sweeper.resent.map(({ id }) => id)).size).toBe(rows.length)
      },
      { timeout: 20_000, interval: 20 },
    )
    await sweeper.stop()
    const sent = sweeper.resent.length
    await fixture.clock.advance(100 * leaseMs)
    expect(sweeper.resent).toHaveLength(sent)
  })
})
