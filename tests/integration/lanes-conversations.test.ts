import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { LanesFixture, line } from './lanes-fixture.ts'
import { eventually } from './messaging-fixture.ts'

let fixture: LanesFixture
let number = 0
beforeAll(async () => {
  fixture = await LanesFixture.start()
})
afterEach(async () => {
  await fixture.stopWorkers()
  fixture.rooms.room.clear()
  fixture.rooms.calls.length = 0
  fixture.rooms.during = async () => {}
})
afterAll(() => fixture.close())

/** A conversation of one test's own, and the names of its turns. */
function conversation(turns: number) {
  const id = `c${++number}`
  const names = Array.from({ length: turns }, (_, n) => `${id}-${n}`)
  const messages = (model = 'a') =>
    names.map((name) => ({ body: line(name, { conversation: id }, model), sessionId: id }))
  const calls = () => fixture.rooms.calls.filter((name) => name.startsWith(`${id}-`))
  const answered = () => names.every((name) => fixture.eventsOf(name).length > 0)
  return { names, messages, calls, answered }
}

test('turns of a conversation run in order, conversations side by side', async () => {
  fixture.worker()
  const talks = [conversation(5), conversation(5), conversation(5)]
  let running = 0
  let most = 0
  fixture.rooms.during = async () => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setTimeout(resolve, 20))
    running--
  }
  for (let turn = 0; turn < 5; turn++) {
    await fixture.send('conversations', ...talks.map((talk) => talk.messages()[turn] ?? { body: '' }))
  }
  await eventually(() => talks.every((talk) => talk.answered()))
  for (const talk of talks) expect(talk.calls()).toEqual(talk.names)
  expect(most).toBeGreaterThan(1)
})

test('a head without room keeps its place and its message, and other conversations go on', async () => {
  fixture.worker()
  const blocked = conversation(3)
  const free = conversation(2)
  fixture.rooms.room.set('a', 0)
  await fixture.send('conversations', ...blocked.messages('a'), ...free.messages('b'))
  await eventually(() => free.answered())
  const [head] = (await fixture.rows()).filter(({ line }) => blocked.names.includes(line.custom_id))
  expect(head?.line.custom_id).toBe(blocked.names[0])
  expect(await fixture.queued('conversations')).toBe(3)
  fixture.rooms.room.set('a', 99)
  await eventually(() => blocked.answered(), 20_000)
  expect(blocked.calls()).toEqual(blocked.names)
  const rows = (await fixture.rows()).filter(({ line }) => blocked.names.includes(line.custom_id))
  expect(rows.map(({ attempts }) => attempts)).toEqual([1, 1, 1])
}, 30_000)

test('a head whose worker died is finished before its successor begins, whoever holds the session', async () => {
  const talk = conversation(3)
  const first = fixture.worker({ sweep: false })
  const never = new Promise<void>(() => {})
  fixture.rooms.during = (name, signal) =>
    Promise.race([
      never,
      new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    ])
  await fixture.send('conversations', ...talk.messages())
  await eventually(() => talk.calls().length === 1)
  // The claim beats no more, and nothing that the first worker does is stored, as if its process had been killed.
  await first.ledger.close()
  fixture.rooms.during = async () => {}
  const second = fixture.worker()
  void first.stop()
  await eventually(() => talk.answered(), 30_000)
  // The head may run twice, and does so before anything else.
  const [head, ...others] = talk.calls().filter((name, index, all) => name !== all[index - 1])
  expect([head, ...others]).toEqual(talk.names)
  for (const name of talk.names) expect(fixture.eventsOf(name)[0]?.data.sluice.status).toBe('succeeded')
  await second.stop()
}, 60_000)

test('a bad message is answered and does not stop its conversation', async () => {
  fixture.worker()
  const talk = conversation(2)
  const [one, two] = talk.messages()
  await fixture.send('conversations', { ...one, body: Buffer.from('no line') }, two ?? { body: '' })
  await eventually(() => fixture.eventsOf(talk.names[1] ?? '').length > 0)
  expect(await fixture.queued('conversations/$DeadLetterQueue')).toBe(1)
})
