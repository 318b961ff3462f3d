import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { LanesFixture, line, platformWith } from './lanes-fixture.ts'
import { eventually } from './messaging-fixture.ts'

let fixture: LanesFixture
let number = 0
beforeAll(async () => {
  fixture = await LanesFixture.start()
})
afterEach(async () => {
  await fixture.stopWorkers()
  fixture.rooms.room.clear()
  fixture.rooms.keysAtLimit.clear()
  fixture.rooms.afterMs = 50
  fixture.rooms.calls.length = 0
  fixture.rooms.during = async () => {}
  fixture.rooms.tried = () => {}
  await fixture.redis.client.flushall()
})
afterAll(() => fixture.close())

/** Names of one test's own. */
const names = (count: number): string[] => {
  const test = ++number
  return Array.from({ length: count }, (_, n) => `${test}-${n}`)
}
const messages = (ids: string[], sluice: object = {}, model = 'a') =>
  ids.map((id) => ({ body: line(id, sluice, model) }))
const answered = (ids: string[]) => ids.every((id) => fixture.eventsOf(id).length > 0)
const statusOf = (id: string) => fixture.eventsOf(id)[0]?.data.sluice.status

test('without room requests wait in the index, their messages are completed, and they run when there is room', async () => {
  const { parking } = fixture.worker()
  const ids = names(8)
  fixture.rooms.room.set('a', 0)
  await fixture.send('standard', ...messages(ids))
  await eventually(() => parking.view.lane('standard').rows === 8)
  await eventually(async () => (await fixture.queued('standard')) === 0)
  const rows = (await fixture.rows()).filter(({ line }) => ids.includes(line.custom_id))
  expect(rows.map(({ status, attempts, parked }) => [status, attempts, parked?.class])).toEqual(
    ids.map(() => ['waiting', 0, 'a']),
  )
  expect(fixture.rooms.calls).toEqual([])
  const fences = rows.map(({ fence }) => fence)
  expect(new Set(fences)).toEqual(new Set([1]))
  // Tries without room have written nothing.
  await eventually(async () => (await parking.look()).get('standard')?.rows === 8)
  expect((await fixture.rows()).filter(({ fence }) => fence > 1 && fences.length === 0)).toEqual([])

  fixture.rooms.room.set('a', 8)
  await eventually(() => answered(ids))
  expect([...fixture.rooms.calls].sort()).toEqual([...ids].sort())
  expect(ids.map(statusOf)).toEqual(Array(8).fill('succeeded'))
  await eventually(() => parking.view.lane('standard').rows === 0)
})

test('a new request goes behind those that wait for the same room, past those that wait for another, and before lanes of less weight', async () => {
  const { parking } = fixture.worker()
  const [waits, ...others] = names(4) as [string, string, string, string]
  fixture.rooms.afterMs = 60_000
  fixture.rooms.room.set('a', 0)
  await fixture.send('standard', ...messages([waits]))
  await eventually(() => parking.view.lane('standard').rows === 1)
  // The index was told that there is no room for a minute; nobody has to find out again.
  fixture.rooms.room.set('a', 9)
  const [same, elsewhere, urgent] = others
  await fixture.send('standard', ...messages([same ?? '']))
  await eventually(() => parking.view.lane('standard').rows === 2)
  await fixture.send('standard', ...messages([elsewhere ?? ''], {}, 'b'))
  await fixture.send('interactive', ...messages([urgent ?? '']))
  await eventually(() => answered([elsewhere ?? '', urgent ?? '']))
  expect(fixture.rooms.calls).not.toContain(waits)
  expect(fixture.rooms.calls).not.toContain(same)
  fixture.rooms.afterMs = 50
  await fixture.redis.client.del('{sluice:parking}:blocked')
  await eventually(() => answered([waits, same ?? '']))
  expect(fixture.rooms.calls.indexOf(waits)).toBeLessThan(fixture.rooms.calls.indexOf(same ?? ''))
})

test('a deadline that passes while a request waits ends it at once, without a call', async () => {
  const { parking } = fixture.worker({ sweep: false })
  const ids = names(2)
  fixture.rooms.room.set('a', 0)
  const deadline = new Date(Date.now() + 1_500).toISOString()
  await fixture.send('standard', ...messages(ids, { deadline }))
  await eventually(() => answered(ids))
  expect(ids.map(statusOf)).toEqual(['expired', 'expired'])
  expect(fixture.rooms.calls).toEqual([])
  await eventually(() => parking.view.lane('standard').rows === 0)
})

test('two workers run each waiting request once', async () => {
  fixture.worker()
  const { parking } = fixture.worker()
  const ids = names(40)
  fixture.rooms.room.set('a', 0)
  await fixture.send('standard', ...messages(ids))
  await eventually(async () => (await parking.look()).get('standard')?.rows === 40)
  fixture.rooms.room.set('a', 1_000)
  await eventually(() => answered(ids))
  expect([...fixture.rooms.calls].sort()).toEqual([...ids].sort())
})

test('a Redis that lost everything is filled from the rows', async () => {
  const { parking } = fixture.worker()
  const ids = names(12)
  fixture.rooms.room.set('a', 0)
  await fixture.send('standard', ...messages(ids))
  await eventually(() => parking.view.lane('standard').rows === 12)
  await parking.setPaused('interactive', true)
  await fixture.redis.client.flushall()
  await eventually(async () => (await parking.look()).get('standard')?.rows === 12 && parking.view.known)
  fixture.rooms.room.set('a', 12)
  await eventually(() => answered(ids))
})

test('while Redis is away requests wait for a sweeper, and none is lost', async () => {
  fixture.worker()
  const ids = names(4)
  fixture.rooms.room.set('a', 0)
  await fixture.redis.kill()
  await fixture.send('standard', ...messages(ids))
  await eventually(async () => {
    const rows = (await fixture.rows()).filter(({ line }) => ids.includes(line.custom_id))
    return rows.length === 4 && rows.every(({ status }) => status === 'waiting')
  }, 20_000)
  await fixture.redis.restart()
  fixture.rooms.room.set('a', 100)
  await eventually(() => answered(ids), 20_000)
  expect(ids.map(statusOf)).toEqual(Array(4).fill('succeeded'))
}, 60_000)

test('a full lane stays in its queue until there is place in the index again', async () => {
  const { parking } = fixture.worker({ platform: platformWith({ standard: { max_parked: 5 } }) })
  const ids = names(30)
  fixture.rooms.room.set('a', 0)
  await fixture.send('standard', ...messages(ids))
  await eventually(() => parking.view.isFull('standard'))
  await eventually(async () => (await fixture.queued('standard')) > 0)
  fixture.rooms.room.set('a', 100)
  await eventually(() => answered(ids), 20_000)
})

test('a row that was stored and never sent goes to the index and runs', async () => {
  const { ledger } = fixture.worker()
  const [id] = names(1) as [string]
  await ledger.accept({ tenant: 't', key: id, line: line(id) as never, lane: 'standard', via: 'http' })
  await eventually(() => answered([id]))
  expect(await fixture.queued('standard')).toBe(0)
})

test('a request whose worker died goes before those that wait, whatever else its tenant had', async () => {
  const { ledger, parking } = fixture.worker()
  const [id, ...others] = names(6) as [string, ...string[]]
  fixture.rooms.room.set('a', 0)
  const { row } = await ledger.accept({ tenant: 't', key: id, line: line(id) as never, lane: 'standard', via: 'http' })
  const taken = await ledger.take(row)
  // Nobody beats any more.
  if (taken?.kind === 'claimed') taken.claim.release()
  await fixture.send('interactive', ...messages(others, { tenant: 'other' }))
  await eventually(() => parking.view.lane('interactive').rows === others.length)
  parking.charge('standard', 't', 100_000)
  // Until its own turn comes there is no room: the others keep each other, and lanes of less weight, waiting.
  fixture.rooms.tried = (name) => {
    if (name === id && fixture.rooms.calls.length === 0) fixture.rooms.room.set('a', 1)
  }
  await eventually(() => fixture.rooms.calls.length === 1, 10_000)
  expect(fixture.rooms.calls).toEqual([id])
  fixture.rooms.room.set('a', 100)
  await eventually(() => answered([id, ...others]))
})

test('a key at its own limit waits, and its tenant’s other keys go on', async () => {
  const { ledger, parking } = fixture.worker()
  const [first, second, other, none] = names(4) as [string, string, string, string]
  fixture.rooms.keysAtLimit.add('key-1')
  fixture.rooms.afterMs = 60_000
  const accept = (id: string, principal?: string) => {
    const keyLimits = principal === undefined ? undefined : { principal, tokens_per_minute: 100 }
    return ledger.accept({ tenant: 't', key: id, line: line(id) as never, lane: 'standard', via: 'http', keyLimits })
  }
  await Promise.all([accept(first, 'key-1'), accept(second, 'key-1')])
  await eventually(() => fixture.rooms.refusedKeys > 0 && parking.view.lane('standard').rows === 2)
  await Promise.all([accept(other, 'key-2'), accept(none)])
  await eventually(() => answered([other, none]))
  expect(fixture.eventsOf(first)).toEqual([])
  const waiting = (await fixture.rows()).filter(({ line }) => [first, second].includes(line.custom_id))
  expect(waiting.map(({ status, parked }) => [status, parked?.class])).toEqual([
    ['waiting', 'a#key-1'],
    ['waiting', 'a#key-1'],
  ])
  for (const { id } of waiting) await ledger.cancel('t', id)
})

test('draining gives back to the index what is not done in time', async () => {
  const first = fixture.worker()
  const [id] = names(1) as [string]
  fixture.rooms.room.set('a', 0)
  await fixture.send('standard', ...messages([id]))
  await eventually(() => first.parking.view.lane('standard').rows === 1)
  fixture.rooms.during = (_, signal) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  fixture.rooms.room.set('a', 1)
  await eventually(() => fixture.rooms.calls.length === 1)
  await first.stop()
  expect((await fixture.rows()).find(({ line }) => line.custom_id === id)).toMatchObject({
    status: 'waiting',
    attempts: 0,
  })
  fixture.rooms.during = async () => {}
  fixture.rooms.room.set('a', 9)
  fixture.worker()
  await eventually(() => answered([id]))
})

test('a paused lane stays in its queue and in the index until it is resumed; the others go on', async () => {
  const { parking, lanes } = fixture.worker()
  const [waits, ...queued] = names(3) as [string, string, string]
  const [other] = names(1) as [string]
  fixture.rooms.room.set('a', 0)
  await fixture.send('standard', ...messages([waits]))
  await eventually(() => parking.view.lane('standard').rows === 1)
  await parking.setPaused('standard', true)
  await eventually(() => lanes.isClosed('standard'))
  fixture.rooms.room.set('a', 100)
  await fixture.send('standard', ...messages(queued))
  await fixture.send('interactive', ...messages([other]))
  await eventually(() => answered([other]))
  // What came while the receiver was closing may be parked: nothing of the lane runs.
  expect(fixture.rooms.calls).toEqual([other])
  await parking.setPaused('standard', false)
  await eventually(() => answered([waits, ...queued]))
})

test('a purge ends what waits and what is queued, tells its sinks, and spares what comes later', async () => {
  const { parking, lanes } = fixture.worker()
  const ids = names(6)
  const [late] = names(1) as [string]
  fixture.rooms.room.set('a', 0)
  await fixture.send('standard', ...messages(ids.slice(0, 3)))
  await eventually(() => parking.view.lane('standard').rows === 3)
  await parking.setPaused('standard', true)
  await eventually(() => lanes.isClosed('standard'))
  await fixture.send('standard', ...messages(ids.slice(3)))
  // The broker's clock and this one may differ by a tick.
  await parking.purge('standard', Date.now() + 2)
  await eventually(() => answered(ids), 20_000)
  expect(ids.map(statusOf)).toEqual(Array(6).fill('cancelled'))
  expect(fixture.rooms.calls).toEqual([])
  await eventually(async () => (await fixture.queued('standard')) === 0)
  await fixture.send('standard', ...messages([late]))
  fixture.rooms.room.set('a', 9)
  await parking.setPaused('standard', false)
  await eventually(() => answered([late]))
  expect(statusOf(late)).toBe('succeeded')
}, 40_000)
