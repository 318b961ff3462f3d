import { randomUUID } from 'node:crypto'
import { type DeliverTarget, emptyUsage, resultEvent } from '@sluice/contracts'
import { createDeliveries, type Deliveries, type DeliveryRow, nextAttemptOf } from '@sluice/ledger'
import { ManualClock } from '@sluice/resilience'
import type { Cosmos } from '@sluice/storage'
import { createLogger } from '@sluice/telemetry'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startStorage, type StandIns } from './storage-stand-ins.ts'

let stores: StandIns
let cosmos: Cosmos
let deliveries: Deliveries
let clock: ManualClock
beforeAll(async () => {
  stores = await startStorage()
})
beforeEach(async () => {
  cosmos = await stores.database()
  clock = new ManualClock()
  const logger = createLogger({ service: 'test', level: 'silent' })
  deliveries = createDeliveries({ cosmos, clock, logger })
})
afterAll(() => stores.stop())

const webhook = (url = 'https://example.com/hook'): DeliverTarget => ({ type: 'webhook', url })

function delivered(
  target: DeliveryRow['target'],
  requestId = `req_${randomUUID().replaceAll('-', '')}`,
  tenant = 'contoso',
) {
  const event = resultEvent(
    {
      id: requestId,
      custom_id: 'order-17',
      response: null,
      error: null,
      sluice: {
        tenant,
        status: 'succeeded',
        decision: null,
        usage: emptyUsage,
        cost_usd: 0,
        timings_ms: { queued: 0, model: 0, total: 0 },
      },
    },
    '2026-01-01T00:00:00.000Z',
  )
  return { tenant, requestId, event, target }
}

async function opened(target = webhook()): Promise<DeliveryRow> {
  return deliveries.open(delivered(target), clock.now())
}

describe('open', () => {
  it('makes one pending row a target, once, also when many are opened together', async () => {
    const first = delivered(webhook())
    const second = { ...first, target: webhook('https://example.com/other') }
    const open = (all: (typeof first)[]) => Promise.all(all.map((one) => deliveries.open(one, clock.now())))
    const rows = await open([first, second])
    expect(rows).toMatchObject([
      { status: 'pending', sink: 'webhook', target: first.target, attempts: [], event: first.event },
      { status: 'pending', target: second.target },
    ])
    expect(rows[0]?.id).toMatch(new RegExp(`^${first.event.id}\\.[0-9a-f]{16}$`))
    await clock.advance(1_000)
    expect(await open([second, first])).toEqual([rows[1], rows[0]])
    const all = await deliveries.listFor('contoso', first.requestId)
    expect(all.map(({ id }) => id).sort()).toEqual(rows.map(({ id }) => id).sort())
    expect(await deliveries.listFor('fabrikam', first.requestId)).toEqual([])
  })

  it('writes two hundred rows at once', async () => {
    const many = Array.from({ length: 200 }, (_, n) => delivered(webhook(`https://example.com/${n}`)))
    const rows = await Promise.all(many.map((one) => deliveries.open(one, clock.now())))
    expect(new Set(rows.map(({ id }) => id)).size).toBe(200)
    expect((await deliveries.backlog()).pending).toBe(200)
  })
})

describe('conclude', () => {
  const attempt = { at: '2026-01-01T00:00:01.000Z', status: 200, ms: 12 }

  it('writes a delivery and its first attempt at once', async () => {
    const one = delivered(webhook())
    const row = await deliveries.conclude(one, attempt, { kind: 'delivered' })
    expect(row).toMatchObject({ status: 'delivered', attempts: [attempt] })
    expect(await deliveries.find(one)).toEqual(row)
  })

  it('notes the attempt of a delivery that has a pending row, and leaves one that has ended', async () => {
    const one = delivered(webhook())
    await deliveries.open(one, clock.now())
    const ended = await deliveries.conclude(one, attempt, { kind: 'failed', reason: 'gone' })
    expect(ended).toMatchObject({ status: 'failed', reason: 'gone', attempts: [attempt] })
    expect(await deliveries.conclude(one, attempt, { kind: 'delivered' })).toBeUndefined()
    expect(await deliveries.find(one)).toEqual(ended)
  })
})

describe('retention', () => {
  const attempt = { at: '2026-01-01T00:00:00.000Z', status: 204, ms: 1 }
  const keptFor = (retentionSeconds: number) =>
    createDeliveries({ cosmos, clock, retentionSeconds, logger: createLogger({ service: 'test', level: 'silent' }) })

  it('ends settled rows by themselves and no pending one', async () => {
    const brief = keptFor(1)
    const pending = await brief.open(delivered(webhook()), clock.now())
    const [concluded, direct] = [delivered(webhook()), delivered({ type: 'event-hubs' })]
    await brief.conclude(concluded, attempt, { kind: 'delivered' })
    await brief.record(pending, attempt, { kind: 'again', atMs: clock.now() })
    const recorded = await brief.record(await opened(), attempt, { kind: 'failed', reason: 'over' })
    expect(recorded).toMatchObject({ status: 'failed', ttl: 1 })
    await brief.settled(direct, { status: 'delivered', at: clock.now(), ms: 1 })
    const find = () =>
      Promise.all([brief.find(concluded), brief.find(direct), brief.listFor('contoso', recorded?.requestId ?? '')])
    await expect.poll(find, { timeout: 20_000 }).toEqual([undefined, undefined, []])
    expect(await brief.get(pending.tenant, pending.requestId, pending.id)).toMatchObject({ status: 'pending' })
  })

  it('begins anew with a replay', async () => {
    const long = keptFor(3_600)
    const row = await long.conclude(delivered(webhook()), attempt, { kind: 'failed', reason: 'over' })
    if (row === undefined) throw new Error('not stored')
    expect(row.ttl).toBe(3_600)
    expect(await deliveries.reopen(row, clock.now())).toBe(true)
    const again = await long.get(row.tenant, row.requestId, row.id)
    expect(again).toMatchObject({ status: 'pending', ttl: -1 })
    expect(await long.record(again ?? row, attempt, { kind: 'delivered' })).toMatchObject({ ttl: 3_600 })
  })
})

describe('reopen', () => {
  it('makes an ended delivery pending, with a schedule that starts anew', async () => {
    const one = delivered(webhook())
    const attempt = { at: '2026-01-01T00:00:01.000Z', status: 500, ms: 12 }
    const row = await deliveries.conclude(one, attempt, { kind: 'failed', reason: 'no success' })
    if (row === undefined) throw new Error('nothing was written')
    expect(await deliveries.reopen(row, clock.now())).toBe(true)
    expect(await deliveries.reopen(row, clock.now())).toBe(false)
    const pending = await deliveries.find(one)
    expect(pending).toMatchObject({ status: 'pending', attempts: [attempt] })
    expect(nextAttemptOf(pending ?? row)).toBe(1)
  })
})

describe('list', () => {
  it('pages through one tenant, the latest first, and by endpoint', async () => {
    for (let n = 0; n < 5; n++) {
      await clock.advance(1_000)
      const target = n === 4 ? { type: 'webhook' as const, endpoint: 'whe_1' } : webhook()
      await deliveries.conclude(delivered(target, `req_${n}`), undefined, { kind: 'failed', reason: 'gone' })
    }
    await deliveries.conclude(delivered(webhook(), 'req_x', 'fabrikam'), undefined, { kind: 'failed', reason: 'gone' })
    const first = await deliveries.list('contoso', { status: 'failed', limit: 3 })
    const { continuation } = first
    const second = await deliveries.list('contoso', { status: 'failed', limit: 3, continuation })
    expect([...first.rows, ...second.rows].map(({ requestId }) => requestId)).toEqual(
      [4, 3, 2, 1, 0].map((n) => `req_${n}`),
    )
    expect(second.continuation).toBeUndefined()
    const { rows } = await deliveries.list('contoso', { status: 'failed', limit: 9, endpoint: 'whe_1' })
    expect(rows.map(({ requestId }) => requestId)).toEqual(['req_4'])
    await expect(deliveries.list('contoso', { status: 'failed', limit: 3, continuation: 'x' })).rejects.toMatchObject({
      code: 'invalid_line',
      param: 'after',
    })
  })
})

describe('headOf', () => {
  it('is the pending row of a key whose event is the oldest', async () => {
    const at = (n: number) => {
      const one = delivered(webhook(), `req_${n}`)
      return { ...one, event: { ...one.event, time: `2026-01-01T00:00:0${n}.000Z` }, fifoKey: 'whe_1' }
    }
    for (const n of [3, 1, 2]) await deliveries.open(at(n), clock.now())
    const head = await deliveries.headOf('contoso', 'whe_1')
    expect(head?.requestId).toBe('req_1')
    if (head === undefined) throw new Error('no head')
    expect(await deliveries.giveUp(head, 'gone')).toBe(true)
    expect((await deliveries.headOf('contoso', 'whe_1'))?.requestId).toBe('req_2')
    expect(await deliveries.headOf('fabrikam', 'whe_1')).toBeUndefined()
  })
})

describe('record', () => {
  const attempt = (status: number) => ({ at: '2026-01-01T00:00:01.000Z', status, ms: 12 })

  it('notes attempts until the delivery is over', async () => {
    const row = await opened()
    const later = clock.now() + 5_000
    const again = await deliveries.record(row, { ...attempt(500), excerpt: 'oops' }, { kind: 'again', atMs: later })
    expect(again).toMatchObject({
      status: 'pending',
      attempts: [{ status: 500, excerpt: 'oops' }],
      next_attempt_at: new Date(later).toISOString(),
    })
    if (again === undefined) throw new Error('not recorded')
    const done = await deliveries.record(again, attempt(200), { kind: 'delivered' })
    expect(done).toMatchObject({ status: 'delivered', attempts: [{ status: 500 }, { status: 200 }] })
    expect(await deliveries.get(row.tenant, row.requestId, row.id)).toEqual(done)
  })

  it('records one of two workers that made the same attempt', async () => {
    const row = await opened()
    const both = await Promise.all([
      deliveries.record(row, attempt(500), { kind: 'again', atMs: clock.now() + 1_000 }),
      deliveries.record(row, attempt(502), { kind: 'again', atMs: clock.now() + 2_000 }),
    ])
    expect(both.filter((one) => one !== undefined)).toHaveLength(1)
    expect((await deliveries.get(row.tenant, row.requestId, row.id))?.attempts).toHaveLength(1)
  })

  it('adds nothing to a delivery that is over, or to none', async () => {
    const row = await opened()
    await deliveries.record(row, attempt(410), { kind: 'failed', reason: 'gone' })
    expect(await deliveries.record(row, attempt(200), { kind: 'delivered' })).toBeUndefined()
    expect(await deliveries.get(row.tenant, row.requestId, row.id)).toMatchObject({ status: 'failed' })
    expect(
      await deliveries.record({ ...row, requestId: 'req_none' }, attempt(200), { kind: 'delivered' }),
    ).toBeUndefined()
  })
})

describe('settled', () => {
  const outcome = () => ({ at: clock.now(), ms: 3 })

  it('notes a delivery that had no row', async () => {
    const one = delivered({ type: 'signalr', user: 'u1' })
    expect(await deliveries.find(one)).toBeUndefined()
    await deliveries.settled(one, { status: 'delivered', ...outcome() })
    expect(await deliveries.find(one)).toMatchObject({ status: 'delivered' })
    expect(await deliveries.listFor(one.tenant, one.requestId)).toMatchObject([
      { sink: 'signalr', status: 'delivered', attempts: [{ ms: 3, at: new Date(clock.now()).toISOString() }] },
    ])
  })

  it('turns a failure into a success, and never a success into a failure', async () => {
    const one = delivered({ type: 'event-hubs' })
    await deliveries.settled(one, { status: 'failed', ...outcome(), error: 'away' })
    expect(await deliveries.find(one)).toMatchObject({ status: 'failed', reason: 'away' })
    await deliveries.settled(one, { status: 'delivered', ...outcome() })
    await deliveries.settled(one, { status: 'failed', ...outcome(), error: 'away' })
    expect(await deliveries.listFor(one.tenant, one.requestId)).toMatchObject([
      { status: 'delivered', attempts: [{ error: 'away' }, {}] },
    ])
  })
})

describe('overdue', () => {
  it('finds what is pending and due in any partition, the longest overdue first', async () => {
    const base = clock.now()
    const rows = await Promise.all(
      [3, 1, 2].map((ms) => deliveries.open(delivered(webhook(), undefined, `t${ms}`), base + ms)),
    )
    const found = async (beforeMs: number, limit: number) =>
      (await deliveries.overdue(beforeMs, limit)).map(({ tenant }) => tenant)
    const [longest] = await deliveries.overdue(base + 10, 1)
    expect((await deliveries.overdue(base + 10, 5, longest)).map(({ tenant }) => tenant)).toEqual(['t2', 't3'])
    expect(await found(base + 3, 10)).toEqual(['t1', 't2'])
    expect(await found(base + 10, 2)).toEqual(['t1', 't2'])
    expect(await found(base + 1, 10)).toEqual([])
    if (rows[1] === undefined) throw new Error('nothing was opened')
    await deliveries.record(rows[1], { at: rows[1].created_at, status: 200, ms: 1 }, { kind: 'delivered' })
    expect(await found(base + 10, 10)).toEqual(['t2', 't3'])
  })
})
