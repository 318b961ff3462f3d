import type { AnswerCache, CachedAnswer } from '@sluice/cache'
import { createEmbedText } from '@sluice/execution'
import { describe, expect, it } from 'vitest'
import { useExecutionBench } from './execution-bench.ts'
import { chat } from './execution-fixture.ts'

const bench = useExecutionBench()
const { start, on, called } = bench

describe('the cache', () => {
  function memory() {
    const kept = new Map<string, CachedAnswer>()
    const keyOf = (ask: { tenant: string; body: unknown }) => `${ask.tenant} ${JSON.stringify(ask.body)}`
    const cache: AnswerCache = {
      maxSoundBytes: 1_000_000,
      async lookup(ask) {
        const answer = kept.get(keyOf(ask))
        return answer && { answer, similarity: 1 }
      },
      store: (ask, _mode, answer) => void kept.set(keyOf(ask), answer),
      close: async () => undefined,
    }
    return { cache, kept }
  }
  const options = { cache: 'exact' as const }

  it('answers the second time, at no cost, and only the tenant that asked', async () => {
    const { cache } = memory()
    const { done } = await start([on('mini', 'swedencentral', { tier: 'small' })], { cache })
    const first = await done(chat('hi'), { options })
    const second = await done(chat('hi'), { options })
    expect(first.decision.cache).toBe('miss')
    expect(second).toMatchObject({
      costUsd: 0,
      decision: { cache: 'hit', deployment: 'mini-swedencentral', attempts: [] },
    })
    expect(second.response?.body).toEqual(first.response?.body)
    expect((await done(chat('hi'), { options, tenant: 'fabrikam' })).decision.cache).toBe('miss')
    expect(await called()).toHaveLength(2)
  })

  it('keeps speech as the bytes that it is, and no transcription', async () => {
    const { cache, kept } = memory()
    const { done } = await start(
      [
        on('tts', 'swedencentral', { urls: ['/v1/audio/speech'] }),
        on('whisper', 'swedencentral', { urls: ['/v1/audio/transcriptions'] }),
      ],
      { cache },
    )
    const url = '/v1/audio/speech' as const
    const asked = { model: 'm-tts', voice: 'alloy', input: 'The gate opens at noon.', response_format: 'wav' }
    const first = await done(asked, { options, url })
    expect(first.costUsd).toBeGreaterThan(0)
    const second = await done(asked, { options, url })
    expect(second).toMatchObject({ costUsd: 0, decision: { cache: 'hit' } })
    expect(Buffer.isBuffer(first.response?.body)).toBe(true)
    expect(second.response).toEqual({ ...first.response, request_id: 'req_1' })
    expect(second.response?.content_type).toMatch(/^audio/)
    const otherVoice = await done({ ...asked, voice: 'nova' }, { options, url })
    expect(otherVoice.decision.cache).toBe('miss')
    const events = await done({ ...asked, stream_format: 'sse' }, { options, url })
    expect(events.decision.cache).toBe('off')

    // Two recordings in bodies that are otherwise alike are two questions.
    const upload = {
      filename: 'a.wav',
      contentType: 'audio/wav',
      open: async () => ReadableStream.from([first.response?.body as Buffer]),
    }
    const heard = await done({ model: 'm-whisper' }, { options, url: '/v1/audio/transcriptions', upload })
    expect(heard).toMatchObject({ status: 'succeeded', decision: { cache: 'off' } })
    expect(kept.size).toBe(2)
  })

  it('is left alone by requests that do not ask for it', async () => {
    const { cache, kept } = memory()
    const { done } = await start([on('mini', 'swedencentral', { tier: 'small' })], { cache })
    expect((await done(chat('hi'))).decision.cache).toBe('off')
    expect(kept.size).toBe(0)
  })

  it('replays a hit as a stream to whoever listens', async () => {
    const { cache } = memory()
    const { done } = await start([on('mini', 'swedencentral', { tier: 'small' })], { cache })
    const body = chat('Tell me a story', { stream: true })
    const { response } = await done(body, { options })
    const events: unknown[] = []
    const hit = await done(body, { options, onDelta: (event) => void events.push(event) })
    expect(hit.decision.cache).toBe('hit')
    const text = (events as { choices: { delta: { content?: string } }[] }[])
      .map(({ choices }) => choices[0]?.delta.content ?? '')
      .join('')
    expect(response?.body).toMatchObject({ choices: [{ message: { content: text } }] })
  })
})

describe('embedding a text for the cache', () => {
  it('is a run like any other', async () => {
    const { execution } = await start([on('embed', 'swedencentral', { urls: ['/v1/embeddings'], model: 'e' })])
    const embed = createEmbedText({ execution: () => execution, model: 'e' })
    const vector = await embed('hello', 'contoso', AbortSignal.timeout(10_000))
    expect(vector.length).toBeGreaterThan(100)
    expect(vector).toEqual(await embed('hello', 'contoso', AbortSignal.timeout(10_000)))
    await bench.twin.post('faults', { type: 'status', status: 500 })
    await expect(embed('hello', 'contoso', AbortSignal.timeout(10_000))).rejects.toMatchObject({ code: 'no_capacity' })
  })
})
