import OpenAI from 'openai'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { deploymentOn } from './model-twin.ts'
import {
  type Door,
  type DoorFixture,
  doorKey,
  type DoorOptions,
  fabrikamKey,
  RawClient,
  startDoorFixture,
  startOddUpstream,
  until,
} from './openai-door-fixture.ts'

let fixture: DoorFixture
const closing: { close(): Promise<void> }[] = []
beforeAll(async () => {
  fixture = await startDoorFixture()
})
afterAll(() => fixture.close())
beforeEach(() => fixture.twin.reset())
afterEach(async () => {
  for (const one of closing.splice(0)) await one.close()
})

async function openDoor(options: DoorOptions = {}): Promise<Door> {
  const door = await fixture.open(options)
  closing.push(door)
  return door
}

type Speech = OpenAI.Audio.SpeechCreateParams
let text = 0
/** A text that no test has asked for. */
const newText = () => `The gate opens at ${++text} past noon.`

async function speak(door: Door, asked: Partial<Speech>, { key = doorKey, cache = 'exact' } = {}) {
  const openai = new OpenAI({ apiKey: key, baseURL: `${door.url}/v1`, maxRetries: 0 })
  const response = await openai.audio.speech.create(
    { model: 'tts-1', voice: 'alloy', input: '', ...asked },
    { headers: { 'x-sluice-cache': cache } },
  )
  const bytes = Buffer.from(await response.arrayBuffer())
  return { bytes, type: response.headers.get('content-type'), cache: response.headers.get('x-sluice-cache') }
}

const calls = async () => (await fixture.twin.calls()).length

/** Asks until the answer comes from the cache, which is filled in the background. */
async function untilCached(ask: () => ReturnType<typeof speak>) {
  let answer = await ask()
  await until(async () => {
    if (answer.cache === 'hit') return true
    answer = await ask()
    return false
  }, 'it is cached')
  return answer
}

describe('speech in the cache', () => {
  it('is the same to the byte the second time, and nobody is asked', async () => {
    const door = await openDoor()
    const asked = { input: newText(), response_format: 'wav' as const }
    const first = await speak(door, asked)
    expect(first.cache).toBeNull()
    expect(first.bytes.length).toBeGreaterThan(1_000)
    const again = await untilCached(() => speak(door, asked))
    expect(again.bytes.equals(first.bytes)).toBe(true)
    expect(again.type).toBe(first.type)
    const before = await calls()
    expect((await speak(door, asked)).cache).toBe('hit')
    // Meaning does not tell how a text is read aloud.
    expect((await speak(door, asked, { cache: 'semantic' })).cache).toBe('hit')
    expect(await calls()).toBe(before)
    const { text } = await door.metrics.render()
    expect(
      Number(/sluice_cache_lookups_total\{mode="exact",outcome="hit",[^}]*\} (\d+)/.exec(text)?.[1]),
    ).toBeGreaterThan(1)
    expect(Number(/sluice_cache_saved_usd_total\{[^}]*\} (\S+)/.exec(text)?.[1])).toBeGreaterThan(0)
  })

  it('is not another tenant’s, another voice’s, nor that of who did not ask', async () => {
    const door = await openDoor()
    const asked = { input: newText() }
    await untilCached(() => speak(door, asked))
    expect((await speak(door, asked, { key: fabrikamKey })).cache).toBeNull()
    expect((await speak(door, { ...asked, voice: 'nova' })).cache).toBeNull()
    expect((await speak(door, { ...asked, response_format: 'wav' })).cache).toBeNull()
    expect((await speak(door, { ...asked, stream_format: 'sse' })).cache).toBeNull()
    expect((await speak(door, asked, { cache: 'off' })).cache).toBeNull()
  })

  it('is not kept when it is longer than the cache takes', async () => {
    const door = await openDoor({ cache: { max_entry_bytes: 20_000 } })
    const long = { input: newText().repeat(20), response_format: 'wav' as const }
    const { bytes } = await speak(door, long)
    expect(bytes.length).toBeGreaterThan(20_000)
    // What is asked for after it has been stored, so that the first would have been as well.
    await untilCached(() => speak(door, { input: 'Hi.' }))
    expect((await speak(door, long)).cache).toBeNull()
  })

  it('is not kept when it was cut, or left by its caller', async () => {
    let whole = false
    const upstream = await startOddUpstream((request, response) => {
      request.resume()
      response.writeHead(200, { 'content-type': 'audio/mpeg', 'transfer-encoding': 'chunked' })
      response.write(Buffer.alloc(2_000, 1))
      if (whole) response.end(Buffer.alloc(2_000, 2))
      else cut = () => response.destroy()
    })
    let cut: (() => void) | undefined
    closing.push(upstream)
    const { endpoint } = upstream
    const urls = ['/v1/audio/speech' as const]
    const door = await openDoor({
      deployments: (twin) => [{ ...deploymentOn(twin, 'tts', { model: 'tts-1', urls }), endpoint }],
    })
    const asked = { input: newText() }
    const body = JSON.stringify({ model: 'tts-1', voice: 'alloy', ...asked })
    const post = () => new RawClient(door.port).post('/v1/audio/speech', body, { 'x-sluice-cache': 'exact' })
    const broken = post()
    await until(() => broken.text.includes('\x01'), 'it has begun')
    cut?.()
    await broken.closed
    const left = post()
    await until(() => left.text.includes('\x01'), 'it has begun again')
    left.socket.destroy()
    await until(() => door.forwarder.inFlight === 0, 'it is over')
    whole = true
    const third = await speak(door, asked)
    expect(third.cache).toBeNull()
    expect(third.bytes.length).toBe(4_000)
    expect((await untilCached(() => speak(door, asked))).bytes.equals(third.bytes)).toBe(true)
  })
})
