import * as fc from 'fast-check'
import type { WaitingRow } from '@sluice/ledger'
import { noteServer, type ParkedRow, type Parking, rebuildIndex } from '@sluice/parking'
import { systemClock } from '@sluice/resilience'
import { createLogger } from '@sluice/telemetry'
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
const logger = createLogger({ service: 'test', level: 'silent' })
const nextRow = async (): Promise<ParkedRow> => {
  const next = await parking.next(all)
  if (next.kind === 'none') throw new Error('nothing was handed out')
  return next.row
}

describe('a row that was handed out', () => {
  it('is nobody else’s until its lease ends, and comes back then', async () => {
    await fixture.park(parking, 1)
    const row = await nextRow()
    expect(await parking.next(all)).toEqual({ kind: 'none', wakeInMs: 20_000 })
    fixture.nowMs += 20_000
    const again = await nextRow()
    expect(again).toEqual({ ...row, turn: Number(row.turn) + 1 })
    // Whoever had it before is too late.
    await parking.taken(row)
    await parking.drop(row)
    await parking.later(row, 10, 'class')
    expect((await parking.look()).get('standard')?.rows).toBe(1)
    await parking.taken(again)
    expect(await parking.next(all)).toEqual({ kind: 'none', wakeInMs: undefined })
    expect(await fixture.leftovers()).toEqual([])
  })

  it('is forgotten when it is dropped, and again when it is taken', async () => {
    await fixture.park(parking, 2)
    await parking.drop(await nextRow())
    const row = await nextRow()
    await parking.taken(row)
    await parking.taken(row)
    await parking.later(row, 10, 'class')
    await parking.drop(row)
    expect(await fixture.leftovers()).toEqual([])
  })
})

it('a row that was announced and never parked is tried a little later', async () => {
  await parking.stage(fixture.row())
  expect(await parking.next(all)).toEqual({ kind: 'none', wakeInMs: 5_000 })
  fixture.nowMs += 5_000
  await parking.taken(await nextRow())
  expect(await fixture.leftovers()).toEqual([])
})

it('a deadline is noticed in any lane, without a slot, paused or not', async () => {
  const deadlineMs = fixture.nowMs + 1_000
  const row = fixture.row({ lane: 'bulk', deadlineMs })
  fixture.nowMs = deadlineMs - 700
  await parking.park(row)
  await parking.setPaused('bulk', true)
  expect(await parking.next([])).toEqual({ kind: 'none', wakeInMs: 700 })
  fixture.nowMs += 700
  expect(await parking.next([])).toMatchObject({ kind: 'row', because: 'expired', row: { id: row.id } })
})

it('a paused lane hands out nothing until it is resumed', async () => {
  await fixture.park(parking, 1, { lane: 'bulk' })
  const [other] = await fixture.park(parking, 1)
  await parking.setPaused('bulk', true)
  expect(await nextRow()).toMatchObject({ id: other?.id })
  expect(await parking.next(all)).toMatchObject({ kind: 'none' })
  expect(parking.view.lane('bulk')).toMatchObject({ paused: true, rows: 1 })
  await parking.setPaused('bulk', false)
  expect(await nextRow()).toMatchObject({ lane: 'bulk' })
})

it('a purge hands out what came before it, to be ended, and nothing that came after', async () => {
  await fixture.park(parking, 3, { lane: 'bulk' })
  await parking.setPaused('bulk', true)
  await parking.purge('bulk', fixture.nowMs)
  fixture.nowMs += 1
  await fixture.park(parking, 2, { lane: 'bulk' })
  for (let n = 0; n < 3; n++) {
    const next = await parking.next([])
    expect(next).toMatchObject({ kind: 'row', because: 'purged' })
    if (next.kind === 'row') await parking.drop(next.row)
  }
  expect(await parking.next([])).toMatchObject({ kind: 'none' })
  expect(parking.view.lane('bulk')).toMatchObject({ rows: 2 })
  expect(parking.view.lane('bulk').purgedUntilMs).toBeLessThan(fixture.nowMs)
})

it('a full lane is closed until a tenth of it has gone', async () => {
  const view = parking.view
  await redis.client.hset('{sluice:parking}:rows', 'standard', 100_000)
  await parking.look()
  expect([view.isFull('standard'), view.isFull('bulk')]).toEqual([true, false])
  await redis.client.hset('{sluice:parking}:rows', 'standard', 90_001)
  await parking.look()
  expect(view.isFull('standard')).toBe(true)
  await redis.client.hset('{sluice:parking}:rows', 'standard', 89_000)
  await parking.look()
  expect(view.isFull('standard')).toBe(false)
})

it('forgets tenants and classes of which nothing was heard for long, but no row', async () => {
  for (let n = 0; n < 30; n++) {
    const row = fixture.row({ tenant: `once-${n}`, class: `class-${n}` })
    await parking.park(row)
    await parking.later(await nextRow(), 1, n % 2 === 0 ? 'tenant' : 'class')
    parking.charge('standard', `never-parked-${n}`, 100)
    fixture.nowMs += 10
    await parking.taken(await nextRow())
  }
  await fixture.park(parking, 1, { tenant: 'waits', class: 'full' })
  await parking.later(await nextRow(), 3_600_000, 'class')
  fixture.nowMs += 600_001
  for (let n = 0; n < 10; n++) await parking.next(all)
  const { client } = redis
  expect((await client.hkeys('{sluice:parking}:pass')).filter((name) => name.startsWith('t:'))).toEqual(['t:waits'])
  expect(await client.hkeys('{sluice:parking}:window')).toEqual(['full'])
  expect(await client.hkeys('{sluice:parking}:blocked')).toEqual(['standard|full', 'bulk|full'])
  expect(await client.hlen('{sluice:parking}:weights')).toBe(0)
  expect((await client.zrange('{sluice:parking}:heard', 0, -1)).toSorted()).toEqual(['c:full', 't:waits'])
})

describe('the place of a row', () => {
  it('is the rows of its own tenant and lane that are due before it', async () => {
    await fixture.park(parking, 3, { class: 'a' })
    const place = await parking.park(fixture.row({ class: 'b' }))
    await fixture.park(parking, 5, { tenant: 'other' })
    await fixture.park(parking, 5, { lane: 'bulk' })
    expect(place.position).toBe(3)
    const urgent = fixture.row({ deadlineMs: fixture.nowMs + 60_000 })
    expect((await parking.park(urgent)).position).toBe(0)
    expect(await parking.place('t', 'req_4')).toMatchObject({ position: 4 })
    expect(await parking.place('t', 'req_unknown')).toBeUndefined()
    expect(await parking.place('other', 'req_4')).toBeUndefined()
    expect(await parking.expect('standard', 'other')).toMatchObject({ position: 5 })
    expect(await parking.expect('standard', 'nobody')).toMatchObject({ position: 0, etaMs: [0, 0] })
  })

  it('says nothing of a time while its lane is paused', async () => {
    await parking.setPaused('standard', true)
    expect(await parking.expect('standard', 't')).toEqual({ position: 0, etaMs: undefined })
    expect(await parking.park(fixture.row())).toEqual({ position: 0, etaMs: undefined })
    expect(await parking.expect('standard', 't')).toEqual({ position: 1, etaMs: undefined })
  })

  it('is told with a time that comes true: within 30 % for the median row, and in between for most', async () => {
    // 1,000 tokens a second go out; tenants and lanes come and go unevenly.
    const arrivals = { interactive: 2, standard: 6, bulk: 8 }
    const eta = new Map<string, { from: number; range: readonly [number, number] }>()
    const errors: number[] = []
    let inRange = 0
    const startMs = fixture.nowMs
    for (let tick = 0; tick < 1_500; tick++) {
      for (const [lane, count] of tick < 600 ? Object.entries(arrivals) : []) {
        for (let n = 0; n < count; n++) {
          if ((tick + n) % 10 !== 0) continue
          const row = fixture.row({ lane, tenant: (tick / 10) % 4 < 1 ? 'small' : 'large' })
          const { etaMs } = await parking.park(row)
          if (etaMs !== undefined) eta.set(row.id, { from: fixture.nowMs, range: etaMs })
        }
      }
      fixture.nowMs = startMs + (tick + 1) * 100
      for (const { id } of await fixture.serve(parking, 1)) {
        const told = eta.get(id)
        if (told === undefined) continue
        const waited = fixture.nowMs - told.from
        const [early, late] = told.range
        errors.push(Math.abs(waited - (early + late) / 2) / Math.max(1_000, waited))
        if (waited >= early * 0.7 && waited <= Math.max(late, 1_000) * 1.3) inRange++
      }
    }
    errors.sort((a, b) => a - b)
    expect(errors.length).toBeGreaterThan(800)
    expect(errors[Math.floor(errors.length / 2)]).toBeLessThanOrEqual(0.3)
    expect(inRange / errors.length).toBeGreaterThan(0.75)
    // What the metric says of it is the same, parked to taken.
    const { text } = await fixture.metrics.render()
    expect(text).toContain('sluice_parking_eta_error_ratio_count')
  }, 60_000)
})

describe('an index that lost its memory', () => {
  const stored = (count: number): WaitingRow[] =>
    Array.from({ length: count }, (_, n) => ({
      id: `req_s${n}`,
      tenant: 't',
      lane: 'standard',
      status: 'waiting',
      attempts: n === 2 ? 1 : 0,
      accepted_at: new Date(fixture.nowMs + n).toISOString(),
      updated_at: new Date(fixture.nowMs + n).toISOString(),
      ...(n % 2 === 0 ? { parked: { class: 'a', tokens: 100 } } : {}),
      ...(n === 0 ? { deadline: new Date(fixture.nowMs + 60_000).toISOString() } : {}),
    }))
  const rebuild = (
    rows: WaitingRow[],
    states: Parameters<typeof rebuildIndex>[0]['states'] = { all: async () => [] },
  ) =>
    rebuildIndex({
      redis: redis.client,
      parking,
      ledger: {
        waiting: async ({ after, limit }) => {
          const from = after === undefined ? 0 : rows.findIndex(({ id }) => id === after.id) + 1
          return rows.slice(from, from + limit)
        },
      },
      states,
      clock: systemClock,
      logger,
      deadlineMs: 10_000,
    })

  it('is filled page by page, once, and keeps what is in it already', async () => {
    await parking.look()
    expect(parking.view.known).toBe(false)
    const rows = stored(1_100)
    await parking.park({ ...fixture.row(), id: 'req_s7', class: 'mine' })
    const won = await Promise.all([rebuild(rows), rebuild(rows)])
    expect(won.sort()).toEqual([false, true])
    expect((await parking.look()).get('standard')).toMatchObject({
      rows: 1_100,
      classes: { a: 550, any: 549, mine: 1 },
    })
    expect(parking.view.known).toBe(true)
    expect(await parking.place('t', 'req_s0')).toMatchObject({ position: 0 })
    const first = await parking.next(all)
    expect(first).toMatchObject({ kind: 'row', row: { id: 'req_s2', interrupted: true } })
  })

  it('is told again what operators ordered, before anything moves', async () => {
    const until = new Date(fixture.nowMs).toISOString()
    await rebuild(stored(2), {
      all: async () => [
        { id: 'standard', paused: true, updated_at: until },
        { id: 'bulk', paused: false, purged_until: until, updated_at: until },
      ],
    })
    expect(await parking.next(all)).toMatchObject({ kind: 'none' })
    expect(parking.view.lane('standard').paused).toBe(true)
    expect(parking.view.lane('bulk').purgedUntilMs).toBe(fixture.nowMs)
  })

  it('that failed on the way is begun anew', async () => {
    const failing = rebuild(stored(2), { all: () => Promise.reject(new Error('away')) })
    await expect(failing).rejects.toThrow('away')
    await redis.client.del('{sluice:parking}:rebuilding')
    expect(await rebuild(stored(2))).toBe(true)
  })

  it('counts as lost when another server answers in its place', async () => {
    await rebuild(stored(2))
    const told = (id: string) => ({
      evalsha: redis.client.evalsha.bind(redis.client),
      eval: redis.client.eval.bind(redis.client),
      info: async () => `# Server\r\nrun_id:${id}\r\n`,
    })
    await noteServer({ redis: told('one'), clock: systemClock, deadlineMs: 10_000 })
    await noteServer({ redis: told('one'), clock: systemClock, deadlineMs: 10_000 })
    await parking.look()
    expect(parking.view.known).toBe(true)
    await noteServer({ redis: told('two'), clock: systemClock, deadlineMs: 10_000 })
    await parking.look()
    expect(parking.view.known).toBe(false)
  })
})

it('no order of parking, trying, failing and crashing loses a row, hands one out twice, or leaves anything behind', async () => {
  const step = fc.record({
    kind: fc.constantFrom('park', 'park', 'park', 'next', 'next', 'next', 'taken', 'later', 'drop', 'wait', 'again'),
    lane: fc.constantFrom(...all),
    tenant: fc.constantFrom('a', 'b', 'c'),
    class: fc.constantFrom('x', 'y'),
    because: fc.constantFrom('class' as const, 'tenant' as const, 'row' as const),
    index: fc.nat(20),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      await redis.client.flushall()
      const waiting = new Map<string, ParkedRow>()
      const leased = new Map<string, { row: ParkedRow; untilMs: number }>()
      const pickLeased = (index: number) => [...leased.values()][index % Math.max(1, leased.size)]?.row
      const end = (row: ParkedRow) => {
        leased.delete(row.id)
        waiting.delete(row.id)
      }
      for (const { kind, index, because, ...fields } of steps) {
        fixture.nowMs += 1
        const row = pickLeased(index)
        if (kind === 'park') {
          const deadlineMs = index % 5 === 0 ? fixture.nowMs + 5_000 : undefined
          const fresh = fixture.row({ ...fields, deadlineMs, interrupted: index % 3 === 0 })
          await parking.park(fresh, index % 4 === 0 ? { roomInMs: 50 } : {})
          waiting.set(fresh.id, fresh)
        } else if (kind === 'again') {
          const known = [...waiting.values()][index % Math.max(1, waiting.size)]
          if (known !== undefined && !leased.has(known.id)) await parking.park(known)
        } else if (kind === 'next') {
          const next = await parking.next(all)
          if (next.kind === 'none') continue
          const before = leased.get(next.row.id)
          if (before !== undefined) expect(fixture.nowMs).toBeGreaterThanOrEqual(before.untilMs)
          expect(waiting.get(next.row.id)).toMatchObject({ lane: next.row.lane, tenant: next.row.tenant })
          leased.set(next.row.id, { row: next.row, untilMs: fixture.nowMs + 20_000 })
        } else if (kind === 'wait') fixture.nowMs += index * 5_000
        else if (row === undefined) continue
        else if (kind === 'later') {
          leased.delete(row.id)
          await parking.later(row, 20, because)
        } else {
          end(row)
          await (kind === 'taken' ? parking.taken(row) : parking.drop(row))
        }
      }
      // Everybody who holds a row dies; whoever is left takes every row there is, each once.
      const taken: string[] = []
      for (let round = 0; round < 500 && waiting.size > 0; round++) {
        const next = await parking.next(all)
        if (next.kind === 'none') fixture.nowMs += 1 + (next.wakeInMs ?? 0)
        else {
          expect(waiting.has(next.row.id)).toBe(true)
          taken.push(next.row.id)
          end(next.row)
          await parking.taken(next.row)
        }
      }
      expect(waiting.size).toBe(0)
      expect(new Set(taken).size).toBe(taken.length)
      expect(await parking.next(all)).toMatchObject({ kind: 'none' })
      expect(await fixture.leftovers()).toEqual([])
    }),
    { numRuns: 60 },
  )
}, 120_000)
