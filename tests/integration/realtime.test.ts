import { connect } from 'node:net'
import OpenAI from 'openai'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import { expect, test } from 'vitest'
import { issueClientSecret } from '../../services/ingest/src/realtime/client-secrets.ts'
import { apiKey, caller, eventually, useRealtimeDoor } from './realtime-fixture.ts'

const rt = useRealtimeDoor()

test('the SDK’s realtime client talks through to the model it named, and what it used is counted', async () => {
  const client = new OpenAI({ apiKey, baseURL: `http://127.0.0.1:${rt.port}/v1` })
  // The SDK always dials wss; its own socket option leads it to a plain port.
  const options = { createConnection: () => connect(rt.port, '127.0.0.1') } as object
  const realtime = new OpenAIRealtimeWS({ model: 'gpt-realtime', options }, client)
  const text = await new Promise<string>((resolve, reject) => {
    let said = ''
    realtime.on('error', reject)
    realtime.on('session.created', () => {
      realtime.send({
        type: 'conversation.item.create',
        item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Where? [answer=Lund]' }] },
      })
      realtime.send({ type: 'response.create', response: { output_modalities: ['text'] } })
    })
    realtime.on('response.output_text.delta', ({ delta }) => (said += delta))
    realtime.on('response.done', () => resolve(said))
  })
  expect(text).toContain('Lund')
  expect(await rt.dialled()).toEqual(['rt-full-swedencentral'])
  const used = await rt.metric('sluice_realtime_tokens_total')
  expect(used.some((line) => line.includes('kind="output"') && !line.endsWith(' 0'))).toBe(true)
  expect(Number((await rt.metric('sluice_realtime_cost_usd_total'))[0]?.split(' ').at(-1))).toBeGreaterThan(0)
  realtime.close()
  await eventually(async () => (await rt.metric('sluice_realtime_sessions'))[0]?.endsWith(' 0'), 'end of the session')
  await eventually(
    async () =>
      (
        await rt.admission.states(
          rt.config.deployments.map((d) => ({ name: d.name, tokensPerMinute: 1, requestsPerMinute: 1 })),
        )
      ).every(({ slotsInUse }) => slotsInUse === 0),
    'slots given back',
  )
  expect(rt.logs.join('\n')).not.toContain('Lund')
})

test('the first session.update names the model, and arrives like everything sent after it', async () => {
  const browser = rt.browser('/v1/realtime')
  await browser.opened()
  browser.send({ type: 'session.update', session: { type: 'realtime', model: 'voice', instructions: 'Be brief.' } })
  const updated = await browser.next('session.updated')
  expect((updated.session as { instructions: string }).instructions).toBe('Be brief.')
  expect(await browser.ask('Hello [answer=Hej]')).toMatchObject({ response: { status: 'completed' } })
  expect(await rt.dialled()).toEqual(['rt-full-eastus2'])
})

test.each([
  ['nothing', undefined, 'rt-mini-swedencentral'],
  ['a simple task', 'Say good morning.', 'rt-mini-swedencentral'],
  [
    'a demanding task',
    'Derive and prove each theorem step by step, analyse its complexity, compare the trade-offs of three algorithms and implement:\n```py\ndef f(n):\n```\nJustify each step.',
    'rt-full-swedencentral',
  ],
])('without a model %s gets the right one', async (_, instructions, expected) => {
  await rt.restart({ modelWaitMs: 300 })
  const browser = rt.browser('/v1/realtime')
  await browser.opened()
  if (instructions !== undefined) browser.send({ type: 'session.update', session: { type: 'realtime', instructions } })
  await browser.next('session.created')
  expect(await rt.dialled()).toEqual([expected])
})

test('a deployment that is away is passed over before the session opens', async () => {
  await rt.twin.post('faults', { type: 'outage', resource: 'swedencentral' })
  const browser = rt.browser('/v1/realtime?model=gpt-realtime')
  await browser.next('session.created')
  expect(await rt.dialled()).toContain('rt-full-eastus2')
})

test('an ephemeral token opens a session of its tenant on the deployment that issued it', async () => {
  const secret = await issueClientSecret(rt.secrets, caller, {
    session: { type: 'realtime', model: 'gpt-realtime-mini', instructions: 'Prepared.' },
  })
  expect(secret).toMatchObject({
    value: expect.stringMatching(/^ek_/) as string,
    sluice: { model: 'gpt-realtime-mini', webrtc_url: 'https://swedencentral.example.com/calls' },
  })
  const browser = rt.browser('/v1/realtime', secret.value)
  const created = await browser.next('session.created')
  expect((created.session as { instructions: string }).instructions).toBe('Prepared.')
  const query = new WebSocket(`ws://127.0.0.1:${rt.port}/v1/realtime?key=${secret.value}`)
  rt.sockets.push(query)
  await eventually(() => query.readyState === WebSocket.OPEN, 'a token in the query')
})

test('an API key in the query works only where configuration allows it', async () => {
  expect(await rt.refusal(`/v1/realtime?model=voice&key=${apiKey}`, {})).toMatchObject({
    status: 401,
    code: 'unauthorized',
  })
  await rt.restart({ access: { key_in_query: true } })
  const socket = new WebSocket(`ws://127.0.0.1:${rt.port}/v1/realtime?model=voice&key=${apiKey}`)
  rt.sockets.push(socket)
  await eventually(() => socket.readyState === WebSocket.OPEN, 'an open socket')
})

test.each([
  ['an unknown model', '/v1/realtime?model=nope', {}, 404, 'model_not_found'],
  ['a wrong key', '/v1/realtime?model=voice', { authorization: 'Bearer wrong' }, 401, 'unauthorized'],
  ['another path', '/v1/other', {}, 404, 'not_found'],
  ['a foreign origin', '/v1/realtime?model=voice', { origin: 'https://evil.example' }, 403, 'forbidden'],
])('%s is refused with a reason', async (_, path, headers, status, code) => {
  expect(await rt.refusal(path, { authorization: `Bearer ${apiKey}`, ...headers })).toMatchObject({ status, code })
})

test('when every deployment is full the handshake says when to come back', async () => {
  await rt.twin.post('faults', { type: 'status', status: 429, retry_after_ms: 7_000 })
  const full = await rt.refusal('/v1/realtime?model=gpt-realtime')
  expect(full.status).toBe(429)
  expect(Number(full.retryAfter)).toBeGreaterThan(0)
})

test('a tenant whose budget is spent opens no session and gets no token', async () => {
  rt.spent = true
  expect(await rt.refusal('/v1/realtime?model=voice')).toMatchObject({ status: 429, code: 'budget_exceeded' })
  await expect(issueClientSecret(rt.secrets, caller, {})).rejects.toMatchObject({
    code: 'budget_exceeded',
  })
})
