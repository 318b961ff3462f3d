import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type DoorFixture, platformKey, startDoor } from '../integration/ingest-fixture.ts'

// The real process is told to stop in the middle of 500 streams. Half of them come to their end meanwhile, the others
// outlast the grace.

const streams = 500
const drainMs = 6_000
const chunk = (content: string, finish: string | null = null) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content }, finish_reason: finish }] })}\n\n`

let upstream: Server
let door: DoorFixture
let ingest: ChildProcess
let url: string
/** Answers that have begun, by what their prompt asks for. */
const begun = { ends: [] as ServerResponse[], stays: [] as ServerResponse[] }

beforeAll(async () => {
  upstream = createServer((request, response) => {
    let body = ''
    request.on('data', (bytes: Buffer) => (body += bytes.toString()))
    request.on('end', () => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(chunk('begun'))
      begun[body.includes('"ends"') ? 'ends' : 'stays'].push(response)
    })
  })
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  const endpoint = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/v1`
  door = await startDoor({
    platform: (config) => ({
      ...config,
      deployments: config.deployments.map((one) => ({
        ...one,
        endpoint,
        max_concurrency: 2 * streams,
        quota: { tokens_per_minute: 100_000_000, requests_per_minute: 600_000 },
      })),
    }),
  })
  const env = { ...process.env, ...door.env, DRAIN_MS: String(drainMs), LOG_LEVEL: 'silent' }
  ingest = spawn(process.execPath, ['services/ingest/src/main.ts'], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const line of createInterface({ input: ingest.stdout! })) {
    const said = line.startsWith('{') ? (JSON.parse(line) as { msg?: string; port?: number }) : {}
    if (said.msg !== 'ready') continue
    url = `http://127.0.0.1:${said.port}`
    break
  }
  ingest.stdout?.resume()
}, 60_000)
afterAll(async () => {
  ingest.kill('SIGKILL')
  upstream.closeAllConnections()
  upstream.close()
  await door.stop()
}, 60_000)

const ask = (content: string) =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${platformKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'small', stream: true, messages: [{ role: 'user', content }] }),
    signal: AbortSignal.timeout(60_000),
  })

test('SIGTERM during 500 streams: they end well or honestly, newcomers hear 503, and the process exits with 0', async () => {
  const asked = Array.from({ length: streams }, (_, n) => (n % 2 === 0 ? 'ends' : 'stays'))
  const answers = await Promise.all(asked.map(ask))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  expect(begun.ends.length + begun.stays.length).toBe(streams)
  const texts = Promise.all(answers.map((answer) => answer.text()))

  const exited = once(ingest, 'exit')
  ingest.kill('SIGTERM')
  for (;;) {
    const newcomer = await ask('stays')
    if (newcomer.status === 503) {
      expect(Number(newcomer.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(newcomer.headers.get('connection')).toBe('close')
      expect(await newcomer.json()).toMatchObject({ error: { code: 'shutting_down', type: 'server_error' } })
      break
    }
    // The signal had not come through yet.
    await newcomer.body?.cancel()
  }
  const queued = await fetch(`${url}/v1/requests`, { headers: { authorization: `Bearer ${platformKey}` } })
  expect([queued.status, queued.headers.get('retry-after')]).toEqual([503, '1'])
  for (const response of begun.ends) response.end(`${chunk(' and done', 'stop')}data: [DONE]\n\n`)

  for (const [n, text] of (await texts).entries()) {
    const events = text.trimEnd().split('\n\n')
    expect(events[0]).toContain('begun')
    if (asked[n] === 'ends') expect(events.slice(1)).toEqual([chunk(' and done', 'stop').trimEnd(), 'data: [DONE]'])
    else {
      expect(events).toHaveLength(2)
      const { error } = JSON.parse(events[1]?.replace(/^(event: error\n)?data: /, '') ?? '') as { error: object }
      expect(error).toMatchObject({ code: 'shutting_down', type: 'server_error' })
    }
  }
  // A drain that takes longer than it may ends with another code.
  expect(await exited).toEqual([0, null])
})
