import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { chatLine, type DoorFixture, sseEvents, startDoor } from './ingest-fixture.ts'

const mostWatchers = 8
let door: DoorFixture
beforeAll(async () => {
  door = await startDoor({ env: { WATCHERS_PER_TENANT: String(mostWatchers) } })
}, 60_000)
afterAll(() => door.stop(), 60_000)

const tenant = 'local'
type View = { id: string; status: string; result: { response: { body: unknown } } | null; lane: string }
const submit = async (customId: string, init: { sluice?: object; headers?: Record<string, string> } = {}) => {
  const answer = await door.api('/v1/requests', {
    json: chatLine(customId, init.sluice),
    ...(init.headers === undefined ? {} : { headers: init.headers }),
  })
  expect(answer.status).toBe(202)
  return { answer, view: (await answer.json()) as View }
}

describe('one line', () => {
  test('202 says where to ask, and a repetition with the key finds the same request', async () => {
    const headers = { 'idempotency-key': 'once' }
    const first = await submit('once', { headers })
    expect(first.answer.headers.get('location')).toBe(`/v1/requests/${first.view.id}`)
    const second = await submit('once', { headers })
    expect(second.view.id).toBe(first.view.id)
    const other = await door.api('/v1/requests', { json: chatLine('another'), headers })
    expect(other.status).toBe(409)
    expect(await other.json()).toMatchObject({ error: { code: 'idempotency_conflict' } })
  })

  test('without a body, or with one of another type, the answer is 415 and names the header', async () => {
    for (const init of [
      { method: 'POST' },
      { method: 'POST', body: '<a/>', headers: { 'content-type': 'text/xml' } },
    ]) {
      const answer = await door.api('/v1/requests', init)
      expect(answer.status).toBe(415)
      expect(await answer.json()).toMatchObject({ error: { param: 'Content-Type' } })
    }
  })
})

describe('a queue that refuses', () => {
  const faults = (method: string, fault?: object) =>
    fetch(new URL('/_control/faults', door.controls.amqp), {
      method,
      ...(fault === undefined ? {} : { body: JSON.stringify(fault), headers: { 'content-type': 'application/json' } }),
    })

  test('is a 503 with Retry-After, and the same key finds the request afterwards', async () => {
    const headers = { 'idempotency-key': 'refused' }
    const send = () => door.api('/v1/requests', { json: chatLine('refused'), headers })
    expect((await faults('POST', { kind: 'refuse', condition: 'amqp:resource-limit-exceeded' })).ok).toBe(true)
    const refused = await send()
    await faults('DELETE')
    expect(refused.status).toBe(503)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(await refused.json()).toMatchObject({ error: { code: 'queue_unavailable' } })
    const again = await send()
    expect(again.status).toBe(202)
    expect(await again.json()).toMatchObject({ custom_id: 'refused', status: 'accepted' })
  })
})

describe('many lines', () => {
  const post = (body: string, headers: Record<string, string> = {}) =>
    door.api('/v1/requests', { method: 'POST', body, headers: { 'content-type': 'application/x-ndjson', ...headers } })
  const fates = async (answer: Response) =>
    (await answer.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { index: number; status: number; request?: View; error?: { param: string } })
      .toSorted((a, b) => a.index - b.index)

  test('each is answered by itself, whatever became of the others', async () => {
    const lines = [JSON.stringify(chatLine('a')), '', '{"custom_id":', JSON.stringify({ ...chatLine('c'), url: '/v2' })]
    const answer = await post([...lines, JSON.stringify(chatLine('d'))].join('\r\n'))
    expect(answer.status).toBe(207)
    const got = await fates(answer)
    expect(got.map(({ index, status }) => [index, status])).toEqual([
      [0, 202],
      [1, 400],
      [2, 400],
      [3, 202],
    ])
    expect(got[2]?.error?.param).toBe('url')
    const stored = await door.api(`/v1/requests/${got[3]?.request?.id}`)
    expect(await stored.json()).toMatchObject({ custom_id: 'd', status: 'accepted' })
  })

  test('with an idempotency key the upload can be repeated', async () => {
    const body = [1, 2, 3].map((n) => JSON.stringify(chatLine(`again-${n}`))).join('\n')
    const ids = async () => (await fates(await post(body, { 'idempotency-key': 'upload' }))).map((f) => f.request?.id)
    const first = await ids()
    expect(new Set(first).size).toBe(3)
    expect(await ids()).toEqual(first)
  })

  test('a line without an end is refused where it became too long, and those before it are accepted', async () => {
    const got = await fates(await post(`${JSON.stringify(chatLine('short'))}\n"${'x'.repeat(5_000_000)}`))
    expect(got.map(({ status }) => status)).toEqual([202, 413])
  })
})

describe('waiting for the end', () => {
  test('?wait answers as soon as the request has ended', async () => {
    const { view } = await submit('waited')
    const waiting = door.api(`/v1/requests/${view.id}?wait=20`)
    await door.finish(tenant, view.id, { body: { answer: 42 } })
    const ended = (await (await waiting).json()) as View
    expect(ended.status).toBe('succeeded')
    expect(ended.result?.response.body).toEqual({ answer: 42 })
  })

  test('?wait answers with the request as it is when the time is over', async () => {
    const { view } = await submit('not-yet')
    const answer = await door.api(`/v1/requests/${view.id}?wait=1`)
    expect(await answer.json()).toMatchObject({ id: view.id, status: 'accepted' })
  })

  test.each(['-1', '61', 'soon'])('?wait=%s is refused by name', async (wait) => {
    const { view } = await submit(`wait-${wait}`)
    const answer = await door.api(`/v1/requests/${view.id}?wait=${wait}`)
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ error: { param: 'wait' } })
  })
})

describe('events', () => {
  const events = (id: string, headers: Record<string, string> = {}) =>
    door.api(`/v1/requests/${id}/events`, { headers })
  const all = async (response: Response) => {
    const seen = []
    for await (const event of sseEvents(response)) seen.push(event)
    return seen
  }

  test('tell the whole way and end with the result', async () => {
    const { view } = await submit('told')
    const response = await events(view.id)
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    await door.finish(tenant, view.id, { body: { text: 'ab' }, deltas: ['a', 'b'] })
    const seen = await all(response)
    expect(seen.map(({ event }) => event)).toEqual(['queued', 'started', 'delta', 'delta', 'finished'])
    expect(seen.filter(({ event }) => event === 'delta').map(({ data }) => data.chunk)).toEqual(['a', 'b'])
    expect(seen.at(-1)?.data).toMatchObject({
      id: view.id,
      status: 'succeeded',
      result: { response: { body: { text: 'ab' } } },
    })
  })

  test('resume after Last-Event-ID', async () => {
    const { view } = await submit('resumed')
    await door.finish(tenant, view.id, { body: {}, deltas: ['a', 'b', 'c'] })
    const first = (await all(await events(view.id))).filter(({ event }) => event === 'delta')[0]
    const rest = await all(await events(view.id, { 'last-event-id': first?.id ?? '' }))
    expect(rest.map(({ event, data }) => [event, data.chunk])).toEqual([
      ['delta', 'b'],
      ['delta', 'c'],
      ['finished', undefined],
    ])
  })

  test('still tell the end after Redis has lost everything', async () => {
    const { view } = await submit('flushed')
    const watching = await events(view.id)
    await door.redis.client.flushall()
    await door.finish(tenant, view.id, { body: { kept: true }, silent: true })
    expect((await all(watching)).at(-1)).toMatchObject({ event: 'finished', data: { status: 'succeeded' } })
    const afterwards = await all(await events(view.id))
    expect(afterwards.map(({ event, id }) => [event, id])).toEqual([
      ['queued', undefined],
      ['finished', undefined],
    ])
  })

  test('refuse an id that was never given, and a request that is not there', async () => {
    const { view } = await submit('strict')
    expect((await events(view.id, { 'last-event-id': '../x' })).status).toBe(400)
    expect((await events(`req_${'0'.repeat(32)}`)).status).toBe(404)
  })
})

describe('cancelling', () => {
  test('ends what has not started, and its watchers hear of it', async () => {
    const { view } = await submit('cancelled')
    const waiting = door.api(`/v1/requests/${view.id}?wait=20`)
    const answer = await door.api(`/v1/requests/${view.id}`, { method: 'DELETE' })
    expect(await answer.json()).toMatchObject({ status: 'cancelled' })
    expect(await (await waiting).json()).toMatchObject({ status: 'cancelled' })
  })
})

describe('the list', () => {
  const list = async (query: string) => {
    const answer = await door.api(`/v1/requests?${query}`)
    return { status: answer.status, ...((await answer.json()) as { data: View[]; continuation: string | null }) }
  }

  test('pages and narrows by status, lane, custom_id and time', async () => {
    const since = new Date().toISOString()
    const made: string[] = []
    for (const n of [1, 2, 3]) made.unshift((await submit(`listed-${n}`, { sluice: { priority: 'bulk' } })).view.id)
    const page = await list(`since=${since}&limit=2&lane=requests-bulk`)
    expect(page.data.map(({ id }) => id)).toEqual(made.slice(0, 2))
    const next = await list(`since=${since}&limit=2&lane=requests-bulk&continuation=${page.continuation}`)
    expect(next.data.map(({ id }) => id)).toEqual(made.slice(2))
    expect(next.continuation).toBeNull()
    expect((await list(`custom_id=listed-2&since=${since}`)).data.map(({ id }) => id)).toEqual([made[1]])
    expect((await list(`status=succeeded&since=${since}`)).data).toEqual([])
    expect((await list(`until=${since}&lane=requests-bulk`)).data).toEqual([])
  })

  test.each(['limit=0', 'limit=101', 'status=nope', 'since=yesterday', 'continuation=xx'])(
    '%s is a 400',
    async (query) => {
      expect((await list(query)).status).toBe(400)
    },
  )
})

test('a tenant has so many streams and long polls open and no more; others are not affected', async () => {
  const { view } = await submit('watched')
  const gone = Array.from({ length: mostWatchers }, () => new AbortController())
  const watch = (signal: AbortSignal) => door.api(`/v1/requests/${view.id}/events`, { signal })
  const open = await Promise.all(gone.map(({ signal }) => watch(signal)))
  expect(open.map(({ status }) => status)).toEqual(gone.map(() => 200))

  const body = chatLine('unheard').body
  const prefer = { prefer: 'respond-async, wait=5', 'idempotency-key': 'unheard' }
  for (const refused of [
    await door.api(`/v1/requests/${view.id}/events`),
    await door.api(`/v1/requests/${view.id}?wait=5`),
    await door.api('/v1/chat/completions', { json: body, headers: prefer }),
  ]) {
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
    expect(await refused.json()).toMatchObject({ error: { code: 'rate_limited' } })
  }
  expect((await door.ledger.list(tenant, { customId: 'unheard', limit: 1 })).rows).toEqual([])
  expect((await door.api(`/v1/requests/${view.id}`)).status).toBe(200)

  const made = await door.api('/v1/keys', { json: { tenant: 'contoso', scopes: ['submit', 'read'] } })
  const { key } = (await made.json()) as { key: string }
  const theirs = (await (await door.api('/v1/requests', { json: chatLine('theirs'), key })).json()) as View
  expect((await door.api(`/v1/requests/${theirs.id}?wait=1`, { key })).status).toBe(200)

  gone[0]?.abort()
  await vi.waitFor(async () => expect((await door.api(`/v1/requests/${view.id}?wait=1`)).status).toBe(200), {
    timeout: 15_000,
  })
  for (const one of gone) one.abort()
})
