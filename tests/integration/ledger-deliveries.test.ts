import { randomUUID } from 'node:crypto'
import { type DeliverTarget, emptyUsage, resultEvent } from '@sluice/contracts'
import { createDeliveries, type Deliveries, type DeliveryRow } from '@sluice/ledger'
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

function delivered(target: DeliverTarget, requestId = `req_${randomUUID().replaceAll('-', '')}`, tenant = 'contoso') {
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
  const [row] = await deliveries.open([{ ...delivered(target), nextAttemptAtMs: clock.now() }])
  if (row === undefined) throw new Error('nothing was opened')
  return row
}

describe('open', () => {
  it('makes one pending row a target, once', async () => {
    const first = { ...delivered(webhook()), nextAttemptAtMs: clock.now() }
    const second = { ...first, target: webhook('https://example.com/other') }
    const rows = await deliveries.open([first, second])
    expect(rows).toMatchObject([
      { status: 'pending', sink: 'webhook', target: first.target, attempts: [], event: first.event },
      { status: 'pending', target: second.target },
    ])
    expect(rows[0]?.id).toMatch(new RegExp(`^${first.event.id}\\.[0-9a-f]{16}$`))
    await clock.advance(1_000)
    expect(await deliveries.open([second, first])).toEqual([rows[1], rows[0]])
    const all = await deliveries.listFor('contoso', first.requestId)
    expect(all.map(({ id }) => id).sort()).toEqual(rows.map(({ id }) => id).sort())
    expect(await deliveries.listFor('fabrikam', first.requestId)).toEqual([])
  })
})

describe('record', () => {
  const attempt = (status: number) => ({ at: '2026-01-01T00:00:01.000Z', status, ms: 12 })

  it('notes attempts until the delivery is over', async () => {
    const row = await opened()
    const later = clock.now() + 5_000
    const again = await deliveries.record(row, { ...attempt(500), excerpt: 'oops' }, { atMs: later })
    expect(again).toMatchObject({
      status: 'pending',
      attempts: [{ status: 500, excerpt: 'oops' }],
      next_attempt_at: new Date(later).toISOString(),
    })
    if (again === undefined) throw new Error('not recorded')
    const done = await deliveries.record(again, attempt(200), 'delivered')
    expect(done).toMatchObject({ status: 'delivered', attempts: [{ status: 500 }, { status: 200 }] })
    expect(await deliveries.get(row.tenant, row.requestId, row.id)).toEqual(done)
  })

  it('records one of two workers that made the same attempt', async () => {
    const row = await opened()
    const both = await Promise.all([
      deliveries.record(row, attempt(500), { atMs: clock.now() + 1_000 }),
      deliveries.record(row, attempt(502), { atMs: clock.now() + 2_000 }),
    ])
    expect(both.filter((one) => one !== undefined)).toHaveLength(1)
    expect((await deliveries.get(row.tenant, row.requestId, row.id))?.attempts).toHaveLength(1)
  })

  it('adds nothing to a delivery that is over, or to none', async () => {
    const row = await opened()
    await deliveries.record(row, attempt(410), 'failed')
    expect(await deliveries.record(row, attempt(200), 'delivered')).toBeUndefined()
    expect(await deliveries.get(row.tenant, row.requestId, row.id)).toMatchObject({ status: 'failed' })
    expect(await deliveries.record({ ...row, requestId: 'req_none' }, attempt(200), 'delivered')).toBeUndefined()
  })
})

describe('settled', () => {
  const outcome = () => ({ at: clock.now(), ms: 3 })

  it('notes a delivery that had no row', async () => {
    const one = delivered({ type: 'signalr', user: 'u1' })
    expect(await deliveries.isDelivered(one)).toBe(false)
    await deliveries.settled(one, { status: 'delivered', ...outcome() })
    expect(await deliveries.isDelivered(one)).toBe(true)
    expect(await deliveries.listFor(one.tenant, one.requestId)).toMatchObject([
      { sink: 'signalr', status: 'delivered', attempts: [{ ms: 3, at: new Date(clock.now()).toISOString() }] },
    ])
  })

  it('turns a failure into a success, and never a success into a failure', async () => {
    const one = delivered({ type: 'event-hubs' })
    await deliveries.settled(one, { status: 'failed', ...outcome(), error: 'away' })
    expect(await deliveries.isDelivered(one)).toBe(false)
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
    const rows = await deliveries.open(
      [3, 1, 2].map((ms) => ({ ...delivered(webhook(), undefined, `t${ms}`), nextAttemptAtMs: base + ms })),
    )
    const found = async (beforeMs: number, limit: number) =>
      (await deliveries.overdue(beforeMs, limit)).map(({ tenant }) => tenant)
    expect(await found(base + 3, 10)).toEqual(['t1', 't2'])
    expect(await found(base + 10, 2)).toEqual(['t1', 't2'])
    expect(await found(base + 1, 10)).toEqual([])
    if (rows[1] === undefined) throw new Error('nothing was opened')
    await deliveries.record(rows[1], { at: rows[1].created_at, status: 200, ms: 1 }, 'delivered')
    expect(await found(base + 10, 10)).toEqual(['t2', 't3'])
  })
})
