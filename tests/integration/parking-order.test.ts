import { type Parking, type ParkedRow } from '@sluice/parking'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { lanes, ParkingFixture } from './parking-fixture.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

let redis: PrivateRedis
let fixture: ParkingFixture
let parking: Parking
beforeAll(async () => {
  redis = await startPrivateRedis()
})
beforeEach(async () => {
  await redis.client.flushall()
  fixture = new ParkingFixture(redis)
  parking = fixture.open()
})
afterAll(() => redis.close())

const all = Object.keys(lanes)
const countBy = (rows: ParkedRow[], field: 'lane' | 'tenant') => {
  const counts: Record<string, number> = {}
  for (const row of rows) counts[row[field]] = (counts[row[field]] ?? 0) + 1
  return counts
}
const idsOf = (rows: ParkedRow[]) => rows.map(({ id }) => id)
const nextRow = async (by = parking): Promise<ParkedRow> => {
  const next = await by.next(all)
  if (next.kind === 'none') throw new Error('nothing was handed out')
  return next.row
}

describe('lanes', () => {
  it('are served by weight, and none starves', async () => {
    for (const lane of all) await fixture.park(parking, 130, { lane })
    const counts = countBy(await fixture.serve(parking, 130), 'lane')
    expect(counts.interactive).toBeGreaterThanOrEqual(79)
    expect(counts.interactive).toBeLessThanOrEqual(81)
    expect(counts.standard).toBeGreaterThanOrEqual(39)
    expect(counts.bulk).toBeGreaterThanOrEqual(9)
  })

  it('save nothing up while they are empty', async () => {
    await fixture.park(parking, 40, { lane: 'bulk' })
    await fixture.serve(parking, 30)
    await fixture.park(parking, 40, { lane: 'interactive' })
    const served = await fixture.serve(parking, 18)
    expect(countBy(served, 'lane').bulk).toBeGreaterThanOrEqual(1)
    expect(countBy(served, 'lane').interactive).toBeGreaterThanOrEqual(15)
  })

  it('without a slot are passed over', async () => {
    await fixture.park(parking, 2, { lane: 'interactive' })
    await fixture.park(parking, 2, { lane: 'bulk' })
    expect(countBy(await fixture.serve(parking, 9, ['bulk']), 'lane')).toEqual({ bulk: 2 })
  })
})

describe('tenants', () => {
  it('share a lane by weight and tokens, not by rows', async () => {
    parking = fixture.open({ heavy: { weight: 2 } })
    await fixture.park(parking, 60, { tenant: 'heavy', tokens: 100 })
    await fixture.park(parking, 60, { tenant: 'small', tokens: 100 })
    await fixture.park(parking, 60, { tenant: 'large', tokens: 300 })
    const counts = countBy(await fixture.serve(parking, 60), 'tenant')
    // Tokens 2 : 1 : 1 are rows 6 : 3 : 1.
    expect(counts.heavy).toBeGreaterThanOrEqual(34)
    expect(counts.small).toBeGreaterThanOrEqual(16)
    expect(counts.large).toBeGreaterThanOrEqual(5)
    expect(counts.large).toBeLessThanOrEqual(7)
  })

  it('pay in one lane for what they get in another, parked or not', async () => {
    for (const tenant of ['greedy', 'modest']) await fixture.park(parking, 30, { tenant })
    parking.charge('interactive', 'greedy', 1_000)
    const counts = countBy(await fixture.serve(parking, 20), 'tenant')
    expect(counts.modest).toBeGreaterThanOrEqual(14)
    expect(counts.greedy).toBeGreaterThanOrEqual(4)
  })

  it('over their cap wait while others do, and only then', async () => {
    parking = fixture.open({ capped: { weight: 8, max_share: 0.2 } })
    await fixture.park(parking, 60, { tenant: 'capped' })
    await fixture.park(parking, 60, { tenant: 'other' })
    const counts = countBy(await fixture.serve(parking, 60), 'tenant')
    expect(counts.capped).toBeGreaterThanOrEqual(8)
    expect(counts.capped).toBeLessThanOrEqual(14)
    const rest = await fixture.serve(parking, 60)
    expect(rest).toHaveLength(60)
    expect(await fixture.leftovers()).toEqual([])
  })

  it('offering 8:4:2:1:1 are served to their max-min fair shares, however much of it comes straight', async () => {
    const offers = { a: 8, b: 4, c: 2, d: 1, e: 1 }
    const served: Record<string, number> = {}
    // Three times what can be served: in each round 48 rows arrive and 16 are served, a third of those that arrive are
    // interactive in the proportion of the offers and run at once.
    for (let round = 0; round < 40; round++) {
      for (const [tenant, offer] of Object.entries(offers)) {
        const straight = offer / 2
        parking.charge('interactive', tenant, straight * 100)
        served[tenant] = (served[tenant] ?? 0) + straight
        await fixture.park(parking, offer, { tenant, lane: 'standard' })
        await fixture.park(parking, offer, { tenant, lane: 'bulk' })
      }
      fixture.nowMs += 1_000
      for (const { tenant } of await fixture.serve(parking, 8)) served[tenant] = (served[tenant] ?? 0) + 1
    }
    // Offers in units of the capacity of 16 a round: 24, 12, 6, 3, 3; the fair shares: 10/3 for three, 3 for two.
    const entitled: Record<string, number> = { a: 10 / 3, b: 10 / 3, c: 10 / 3, d: 3, e: 3 }
    const ratios = Object.keys(offers).map((tenant) => (served[tenant] ?? 0) / 40 / (entitled[tenant] ?? 1))
    const sum = ratios.reduce((total, ratio) => total + ratio, 0)
    const squares = ratios.reduce((total, ratio) => total + ratio * ratio, 0)
    expect((sum * sum) / (ratios.length * squares)).toBeGreaterThanOrEqual(0.9)
  })
})

describe('rows of one tenant', () => {
  it('go by deadline, and without one in the order in which they came', async () => {
    const [first, second] = await fixture.park(parking, 2)
    const soon = fixture.row({ deadlineMs: fixture.nowMs + 10_000 })
    const late = fixture.row({ deadlineMs: fixture.nowMs + 2 * 3_600_000 })
    for (const row of [late, soon]) await parking.park(row)
    const expected = [soon, first, second, late].map((row) => row?.id)
    expect(idsOf(await fixture.serve(parking, 9))).toEqual(expected)
  })

  it('are in the index once, and keep their place, however often they are parked', async () => {
    const rows = await fixture.park(parking, 3)
    const again = rows[0] as ParkedRow
    await parking.park(again)
    await parking.restore(again)
    expect((await parking.look()).get('standard')).toMatchObject({ rows: 3, tokens: 300, classes: { a: 3 } })
    expect(idsOf(await fixture.serve(parking, 9))).toEqual(idsOf(rows))
  })
})

describe('a class without room', () => {
  it('does not keep those back that could go elsewhere', async () => {
    await fixture.park(parking, 2, { class: 'full' })
    const other = await fixture.park(parking, 1, { class: 'free' })
    await parking.later(await nextRow(), 30_000, 'class')
    expect(idsOf(await fixture.serve(parking, 9))).toEqual(idsOf(other))
    expect(await parking.next(all)).toEqual({ kind: 'none', wakeInMs: 30_000 })
    fixture.nowMs += 30_000
    expect(await fixture.serve(parking, 9)).toHaveLength(2)
  })

  it('is left alone by lanes of less weight, and tried by those of more', async () => {
    await fixture.park(parking, 1, { lane: 'standard' })
    await parking.later(await nextRow(), 5_000, 'class')
    await fixture.park(parking, 1, { lane: 'bulk' })
    expect(await parking.next(all)).toMatchObject({ kind: 'none' })
    await fixture.park(parking, 1, { lane: 'interactive' })
    expect(await nextRow()).toMatchObject({ lane: 'interactive' })
  })

  it('is tried by one first, and by twice as many with each that finds room', async () => {
    await fixture.park(parking, 40)
    await parking.later(await nextRow(), 100, 'class')
    fixture.nowMs += 100
    const tries = async () => {
      const rows: ParkedRow[] = []
      for (let next = await parking.next(all); next.kind === 'row'; next = await parking.next(all)) rows.push(next.row)
      return rows
    }
    const first = await tries()
    expect(first).toHaveLength(1)
    for (const row of first) await parking.taken(row)
    const second = await tries()
    expect(second).toHaveLength(2)
    for (const row of second) await parking.taken(row)
    expect(await tries()).toHaveLength(8)
  })

  it('gives something large its turn, although something small would always fit before it', async () => {
    await fixture.park(parking, 1, { lane: 'bulk', tokens: 5_000 })
    await fixture.park(parking, 2_000, { lane: 'interactive', tokens: 100 })
    // There is never room for more than 100 tokens at once, unless nobody takes them for a while.
    for (let round = 0; round < 2_000; round++) {
      fixture.nowMs += 10
      const next = await parking.next(all)
      if (next.kind === 'none') {
        expect(round).toBeGreaterThan(0)
        return
      }
      if (next.row.tokens === 5_000) await parking.later(next.row, 1_000, 'class')
      else await parking.taken(next.row)
    }
    throw new Error('the large one never held up the small ones')
  })
})

it('a tenant at its own limit does not keep the others back', async () => {
  await fixture.park(parking, 2, { tenant: 'limited' })
  const other = await fixture.park(parking, 2, { tenant: 'other' })
  await parking.later(await nextRow(), 1_000, 'tenant')
  expect(idsOf(await fixture.serve(parking, 9))).toEqual(idsOf(other))
  fixture.nowMs += 1_000
  expect(countBy(await fixture.serve(parking, 9), 'tenant')).toEqual({ limited: 2 })
})

it('a row that fails by itself waits by itself', async () => {
  const [failing, fine] = await fixture.park(parking, 2)
  await parking.later(await nextRow(), 60_000, 'row')
  expect(idsOf(await fixture.serve(parking, 9))).toEqual([fine?.id])
  fixture.nowMs += 60_000
  expect(idsOf(await fixture.serve(parking, 9))).toEqual([failing?.id])
})

describe('what was interrupted', () => {
  it('goes before every lane and tenant, and is not charged for a second turn', async () => {
    parking.charge('bulk', 'greedy', 5_000)
    await parking.next([])
    await fixture.park(parking, 9, { lane: 'interactive' })
    await fixture.park(parking, 3, { tenant: 'greedy', lane: 'bulk' })
    const [late] = await fixture.park(parking, 1, { tenant: 'greedy', lane: 'bulk', interrupted: true })
    expect(await parking.place('greedy', late?.id ?? '')).toEqual({ position: 0, etaMs: [0, 0] })
    const passes = await redis.client.hgetall('{sluice:parking}:pass')
    expect(await nextRow()).toMatchObject({ id: late?.id, interrupted: true })
    expect(await redis.client.hgetall('{sluice:parking}:pass')).toEqual(passes)
  })

  it('waits until there is room for it, without a charge, and keeps nobody back that could go elsewhere', async () => {
    const [elsewhere] = await fixture.park(parking, 1, { class: 'b' })
    const rest = await fixture.park(parking, 2)
    const [first] = await fixture.park(parking, 1, { lane: 'bulk', interrupted: true })
    const passes = await redis.client.hgetall('{sluice:parking}:pass')
    await parking.later(await nextRow(), 1_000, 'class')
    expect(await redis.client.hgetall('{sluice:parking}:pass')).toEqual(passes)
    expect(await parking.place('t', first?.id ?? '')).toEqual({ position: 0, etaMs: [1_000, 1_000] })
    expect(idsOf(await fixture.serve(parking, 1))).toEqual([elsewhere?.id])
    fixture.nowMs += 1_000
    expect(idsOf(await fixture.serve(parking, 9))).toEqual(idsOf([first as ParkedRow, ...rest]))
    expect(await fixture.leftovers()).toEqual([])
  })

  it('waits with its tenant’s limit and in a lane without a slot', async () => {
    const [row] = await fixture.park(parking, 1, { interrupted: true })
    expect(await fixture.serve(parking, 9, ['bulk'])).toEqual([])
    await parking.later(await nextRow(), 1_000, 'tenant')
    expect(await fixture.serve(parking, 9)).toEqual([])
    fixture.nowMs += 1_000
    expect(idsOf(await fixture.serve(parking, 9))).toEqual([row?.id])
  })

  it('goes first once: when nobody says how its try ended it is a row like any other', async () => {
    const [row] = await fixture.park(parking, 1, { lane: 'bulk', interrupted: true })
    const others = await fixture.park(parking, 3, { lane: 'interactive', tenant: 'other' })
    parking.charge('bulk', 't', 5_000)
    expect((await nextRow()).id).toBe(row?.id)
    // Its worker died before it claimed the row, so the row does not know.
    fixture.nowMs += 20_000
    expect(idsOf(await fixture.serve(parking, 9))).toEqual(idsOf([...others, row as ParkedRow]))
    expect(await fixture.leftovers()).toEqual([])
  })

  it('is left alone for as long as there is known to be no room when it is parked', async () => {
    const row = fixture.row({ interrupted: true })
    expect(await parking.park(row, { roomInMs: 1_000 })).toEqual({ position: 0, etaMs: [1_000, 1_000] })
    expect(await fixture.serve(parking, 9)).toEqual([])
    fixture.nowMs += 1_000
    expect(idsOf(await fixture.serve(parking, 9))).toEqual([row.id])
  })

  it('has its charge back when it was tried in its lane’s turn and found no room', async () => {
    const [first] = await fixture.park(parking, 1, { lane: 'bulk', interrupted: true })
    const [second] = await fixture.park(parking, 1, { lane: 'interactive', interrupted: true })
    await parking.later(await nextRow(), 1_000, 'class')
    const passes = await redis.client.hgetall('{sluice:parking}:pass')
    // Its lane has more weight than the one that found no room, so it is tried all the same.
    const tried = await nextRow()
    expect(tried.id).toBe(second?.id)
    await parking.later(tried, 1_000, 'class')
    expect(await redis.client.hgetall('{sluice:parking}:pass')).toMatchObject(passes)
    fixture.nowMs += 1_000
    expect(idsOf(await fixture.serve(parking, 9))).toEqual([first?.id, second?.id])
  })

  it('has no time to expect while its lane is paused', async () => {
    const [row] = await fixture.park(parking, 1, { interrupted: true })
    await parking.setPaused('standard', true)
    expect(await parking.place('t', row?.id ?? '')).toEqual({ position: 0, etaMs: undefined })
  })
})

it('a row that was handed out because it expired, and was put back, is given no charge back', async () => {
  await fixture.park(parking, 1, { deadlineMs: fixture.nowMs + 10 })
  fixture.nowMs += 20
  const passes = await redis.client.hgetall('{sluice:parking}:pass')
  const next = await parking.next(all)
  expect(next).toMatchObject({ kind: 'row', because: 'expired' })
  if (next.kind === 'row') await parking.later(next.row, 1_000, 'row')
  expect(await redis.client.hgetall('{sluice:parking}:pass')).toEqual(passes)
})
