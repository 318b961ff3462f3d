import { APIConnectionError, APIUserAbortError, InternalServerError, RateLimitError } from 'openai'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { deploymentState, eventually, resource, startTwin } from './openai-twin.ts'
import type { TwinUnderTest } from './openai-twin.ts'

describe('faults on purpose', () => {
  let under: TwinUnderTest
  const request = { model: 'chat', messages: [{ role: 'user' as const, content: 'Tell me something [tokens=40]' }] }
  const ask = () => under.openai.chat.completions.create(request)
  const fault = (body: object) => under.control('POST', 'faults', body)
  const failure = (attempt: PromiseLike<unknown>): Promise<unknown> =>
    Promise.resolve(attempt).then(
      () => 'answered',
      (error: unknown) => error,
    )

  beforeEach(async () => {
    under = await startTwin([
      { name: 'chat', model: 'gpt-4.1' },
      { name: 'other', model: 'gpt-4.1' },
      { name: 'spot', model: 'phi', kind: 'spot', latency: { per_token_ms: 20 } },
    ])
  })
  afterEach(() => under.close())

  test('a status hits as often as it says, with Azure’s body and the SDK’s class', async () => {
    await fault({ type: 'status', status: 500, count: 2 })
    expect(await failure(ask())).toBeInstanceOf(InternalServerError)
    expect(await failure(ask())).toMatchObject({ status: 500, code: 'InternalServerError' })
    await expect(ask()).resolves.toBeDefined()
    expect((await deploymentState(under, 'chat')).failed_calls).toBe(2)
  })

  test.each([
    [408, 'Timeout'],
    [503, 'ServiceUnavailable'],
    [504, 'GatewayTimeout'],
  ])('status %i has code %s', async (status, code) => {
    await fault({ type: 'status', status, count: 1 })
    expect(await failure(ask())).toMatchObject({ status, code })
  })

  test('a 429 carries the retry-after it was given, a body of one’s own replaces Azure’s', async () => {
    await fault({ type: 'status', status: 429, retry_after_ms: 1_500, count: 1 })
    const error = await failure(ask())
    expect(error).toBeInstanceOf(RateLimitError)
    expect((error as RateLimitError).headers.get('retry-after-ms')).toBe('1500')
    await fault({ type: 'status', status: 503, body: { error: { code: 'Mine', message: 'own' } }, count: 1 })
    expect(await failure(ask())).toMatchObject({ code: 'Mine' })
  })

  test('selectors keep other deployments and operations out of it, skip lets calls pass first', async () => {
    await fault({ type: 'status', status: 500, deployment: 'other', operation: 'chat', skip: 1 })
    await expect(ask()).resolves.toBeDefined()
    await expect(under.openai.chat.completions.create({ ...request, model: 'other' })).resolves.toBeDefined()
    expect(await failure(under.openai.chat.completions.create({ ...request, model: 'other' }))).toBeInstanceOf(
      InternalServerError,
    )
    await expect(under.openai.responses.create({ model: 'other', input: 'x' })).resolves.toBeDefined()
  })

  test('a probability hits its share, the same calls in every run with the same seed', async () => {
    await fault({ type: 'status', status: 500, probability: 0.3 })
    const run = async () => {
      const hits: boolean[] = []
      for (let i = 0; i < 100; i++) hits.push((await failure(ask())) instanceof InternalServerError)
      return hits
    }
    const first = await run()
    expect(first.filter(Boolean).length).toBeGreaterThan(15)
    expect(first.filter(Boolean).length).toBeLessThan(45)
    await under.control('POST', 'reset', {})
    await fault({ type: 'status', status: 500, probability: 0.3 })
    expect(await run()).toEqual(first)
  })

  test('a delay holds the answer back, a hang never answers and ends when the client gives up', async () => {
    await fault({ type: 'delay', ms: 60, count: 1 })
    const startedAt = performance.now()
    await ask()
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(59)
    await fault({ type: 'hang', count: 1 })
    const error = await failure(under.openai.chat.completions.create(request, { signal: AbortSignal.timeout(50) }))
    expect(error).toBeInstanceOf(APIUserAbortError)
    const { calls } = await eventually(
      () => under.control('GET', 'calls'),
      (answer) => answer.calls?.at(-1)?.outcome === 'aborted',
    )
    expect(calls).toHaveLength(2)
  })

  test('a connection dropped before the headers or inside the body is an APIConnectionError', async () => {
    await fault({ type: 'drop', at: 'headers', count: 1 })
    expect(await failure(ask())).toBeInstanceOf(APIConnectionError)
    await fault({ type: 'drop', at: 'body', count: 1 })
    expect(String(await failure(ask()))).not.toBe('answered')
    const { calls } = await under.control('GET', 'calls')
    expect(calls?.map((row) => row.outcome)).toEqual(['dropped', 'dropped'])
  })

  test('a stream dropped after some events delivers those and then fails', async () => {
    await fault({ type: 'drop', at: 'stream', after_events: 5, count: 1 })
    const chunks: unknown[] = []
    const read = async (): Promise<void> => {
      for await (const chunk of await under.openai.chat.completions.create({ ...request, stream: true }))
        chunks.push(chunk)
    }
    await expect(read()).rejects.toThrow()
    expect(chunks).toHaveLength(5)
  })

  test('slow bytes stretch an answer', async () => {
    await fault({ type: 'slow', bytes_per_second: 10_000, count: 1 })
    const startedAt = performance.now()
    const answer = await ask().asResponse()
    const bytes = Number(answer.headers.get('content-length'))
    await answer.text()
    expect(performance.now() - startedAt).toBeGreaterThan((bytes / 10_000) * 1_000 * 0.5)
  })

  test('a client that aborts a stream is noticed, and its call is no longer in flight', async () => {
    const stream = await under.openai.chat.completions.create({ ...request, model: 'spot', stream: true })
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break
    stream.controller.abort()
    const state = await eventually(
      () => deploymentState(under, 'spot'),
      (row) => row.in_flight === 0,
    )
    expect(state.max_in_flight).toBe(1)
    const { calls } = await eventually(
      () => under.control('GET', 'calls'),
      (answer) => answer.calls?.[0]?.outcome !== 'open',
    )
    expect(calls?.[0]?.outcome).toBe('aborted')
  })

  test('a region outage cuts what is open, refuses what comes, and ends when it is cleared', async () => {
    const open = failure(under.openai.chat.completions.create({ ...request, model: 'spot' }))
    await eventually(
      () => deploymentState(under, 'spot'),
      (row) => row.in_flight === 1,
    )
    await fault({ type: 'outage', resource })
    expect(await open).toBeInstanceOf(APIConnectionError)
    expect(await failure(ask())).toBeInstanceOf(APIConnectionError)
    await under.control('DELETE', 'faults')
    await expect(ask()).resolves.toBeDefined()
    await fault({ type: 'outage', resource, mode: '503' })
    expect(await failure(ask())).toMatchObject({ status: 503 })
  })

  test('a spot deployment is given notice as a Scheduled Event, then its machine is gone until it is restored', async () => {
    const at = { resource, deployment: 'spot' }
    const spot = () => under.openai.chat.completions.create({ ...request, model: 'spot', max_tokens: 2 })
    const events = async () => {
      const url = `${under.twin.url}/r/${resource}/metadata/scheduledevents?api-version=2020-07-01`
      const response = await fetch(url, { headers: { metadata: 'true' } })
      return (await response.json()) as { DocumentIncarnation: number; Events: Record<string, unknown>[] }
    }
    const before = await events()
    expect(before.Events).toEqual([])
    await under.control('POST', 'evict', { ...at, notice_ms: 30_000 })
    const noticed = await events()
    expect(noticed.DocumentIncarnation).toBeGreaterThan(before.DocumentIncarnation)
    expect(noticed.Events[0]).toMatchObject({
      EventType: 'Preempt',
      EventStatus: 'Scheduled',
      ResourceType: 'VirtualMachine',
      Resources: ['spot'],
    })
    await expect(spot()).resolves.toBeDefined()
    const open = failure(
      under.openai.chat.completions
        .create({ ...request, model: 'spot', stream: true })
        .then(async (stream) => Array.fromAsync(stream)),
    )
    await eventually(
      () => deploymentState(under, 'spot'),
      (row) => row.in_flight === 1,
    )
    await under.control('POST', 'clock', { advanceMs: 30_000 })
    expect(await open).toBeInstanceOf(Error)
    expect(await failure(spot())).toBeInstanceOf(APIConnectionError)
    expect((await events()).Events).toEqual([])
    await under.control('POST', 'restore', at)
    await expect(spot()).resolves.toBeDefined()
  })

  test('acknowledging an eviction starts it at once; without the metadata header nothing is told', async () => {
    await under.control('POST', 'evict', { resource, deployment: 'spot' })
    const url = `${under.twin.url}/r/${resource}/metadata/scheduledevents?api-version=2020-07-01`
    expect((await fetch(url)).status).toBe(400)
    const { Events } = (await (await fetch(url, { headers: { metadata: 'true' } })).json()) as {
      Events: { EventId: string }[]
    }
    const StartRequests = Events.map(({ EventId }) => ({ EventId }))
    await fetch(url, {
      method: 'POST',
      headers: { metadata: 'true', 'content-type': 'application/json' },
      body: JSON.stringify({ StartRequests }),
    })
    expect((await deploymentState(under, 'spot')).evicted).toBe(true)
  })

  test('a script does all of it by the virtual clock', async () => {
    await under.close()
    under = await startTwin([{ name: 'chat', model: 'gpt-4.1' }], {
      script: [
        { at_ms: 10_000, faults: [{ id: 'later', type: 'status', status: 500 }] },
        { at_ms: 20_000, clear: true, set: [{ resource, deployment: 'chat', settings: { ability: 0 } }] },
      ],
    })
    await expect(ask()).resolves.toBeDefined()
    await under.control('POST', 'clock', { advanceMs: 10_000 })
    expect(await failure(ask())).toBeInstanceOf(InternalServerError)
    await under.control('POST', 'clock', { advanceMs: 10_000 })
    await ask()
    const { calls } = await under.control('GET', 'calls')
    expect(calls?.at(-1)).toMatchObject({ status: 200, right: false })
  })

  test.each([
    [{}, 'type must be one of'],
    [{ type: 'status' }, 'a status fault needs a status'],
    [{ type: 'status', status: 200 }, 'status must be a number between 400 and 599'],
    [{ type: 'delay' }, 'a delay fault needs ms'],
    [{ type: 'outage' }, 'an outage needs a resource'],
    [{ type: 'drop', at: 'lunch' }, 'at must be one of'],
    [{ type: 'hang', operation: 'dance' }, 'operation must be one of'],
    [{ type: 'hang', typo: 1 }, 'unknown field typo'],
  ])('a malformed fault %j is refused with a sentence and adds nothing', async (body, sentence) => {
    const answer = await fault(body)
    expect(answer.status).toBe(400)
    expect(answer.error).toContain(sentence)
    expect((await under.control('GET', 'faults')).faults).toEqual([])
  })

  test('the call log is read from an index on, and says what a slow reader missed', async () => {
    await under.close()
    under = await startTwin([{ name: 'chat', model: 'gpt-4.1' }], { callLogSize: 3, loggedHeaders: ['X-My-Id'] })
    for (let i = 0; i < 5; i++)
      await under.openai.chat.completions.create(request, { headers: { 'x-my-id': `call-${i}` } })
    const { calls, next, missed } = await under.control('GET', 'calls?from=0')
    expect(calls?.map((row) => row.headers['x-my-id'])).toEqual(['call-2', 'call-3', 'call-4'])
    expect({ next, missed }).toEqual({ next: 5, missed: 2 })
    expect((await under.control('GET', 'calls?from=5')).calls).toEqual([])
    expect((await under.control('GET', 'calls?from=x')).status).toBe(400)
  })
})
