import { expect, test } from 'vitest'
import { eventually, useRealtimeDoor } from './realtime-fixture.ts'

const rt = useRealtimeDoor()

test('an idle session is closed with a reason; one that talks goes on', async () => {
  await rt.restart({ idleMs: 400 })
  const quiet = rt.browser('/v1/realtime?model=voice')
  expect(await quiet.closed()).toBe(1000)
  expect(quiet.events.at(-1)).toMatchObject({ type: 'error', error: { code: 'session_idle' } })
})

test('a slow reader pauses its session and still gets every event in order', async () => {
  const browser = rt.browser('/v1/realtime?model=gpt-realtime')
  await browser.next('session.created')
  const big = 'x'.repeat(200_000)
  for (let at = 0; at < 60; at++) {
    browser.send({
      type: 'conversation.item.create',
      item: { id: `i${at}`, type: 'message', role: 'user', content: [{ type: 'input_text', text: big }] },
    })
  }
  const added = () =>
    browser.events.filter(({ type }) => type === 'conversation.item.added' || type === 'conversation.item.created')
  await eventually(() => added().length >= 60, 'every item')
  const ids = added().map((event) => (event.item as { id: string }).id)
  expect([...new Set(ids)]).toEqual(Array.from({ length: 60 }, (_, at) => `i${at}`))
})

test('when the provider dies mid-session the client is told, and the slot is free', async () => {
  const browser = rt.browser('/v1/realtime?model=gpt-realtime')
  await browser.next('session.created')
  rt.twinDied = true
  await rt.twin.close()
  expect(await browser.closed()).toBe(1011)
})

test('shutting down refuses new sessions and ends open ones with an error event', async () => {
  const browser = rt.browser('/v1/realtime?model=gpt-realtime')
  await browser.next('session.created')
  const closing = rt.door.close(200)
  expect(await rt.refusal('/v1/realtime?model=voice')).toMatchObject({ status: 503, code: 'shutting_down' })
  await closing
  expect(await browser.closed()).toBe(1012)
  expect(browser.events.at(-1)).toMatchObject({ type: 'error', error: { code: 'shutting_down' } })
})
