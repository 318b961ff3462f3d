import { toFile } from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { apiKey, resource, startTwin } from './openai-twin.ts'
import type { TwinUnderTest } from './openai-twin.ts'

describe('audio and legacy completions', () => {
  let under: TwinUnderTest

  beforeAll(async () => {
    under = await startTwin([
      { name: 'tts-1', model: 'tts' },
      { name: 'slow-tts', model: 'tts', latency: { first_token_ms: 20, per_token_ms: 10 } },
      { name: 'whisper-1', model: 'whisper' },
      { name: 'transcribe', model: 'gpt-4o-transcribe' },
      { name: 'instruct', model: 'gpt-3.5-turbo-instruct', ability: 1, tokens_per_minute: 10_000 },
    ])
  })
  afterAll(() => under.close())

  const speak = async (input: string, format: 'mp3' | 'wav' | 'pcm' | 'opus', model = 'tts-1'): Promise<Buffer> => {
    const response = await under.openai.audio.speech.create({ model, voice: 'alloy', input, response_format: format })
    return Buffer.from(await response.arrayBuffer())
  }
  const hear = async (audio: Buffer, name = 'audio.wav') => toFile(audio, name)

  test('speech has the bytes of its format, and lasts longer for a longer text', async () => {
    expect((await speak('Hello', 'wav')).subarray(0, 4).toString('latin1')).toBe('RIFF')
    expect((await speak('Hello', 'mp3')).subarray(0, 3).toString('latin1')).toBe('ID3')
    expect((await speak('Hello', 'opus')).subarray(0, 4).toString('latin1')).toBe('OggS')
    expect((await speak('Hello '.repeat(50), 'pcm')).byteLength).toBeGreaterThan(
      (await speak('Hello', 'pcm')).byteLength * 10,
    )
    const wav = await speak('Hello', 'wav')
    expect(wav.readUInt32LE(4)).toBe(wav.byteLength - 8)
  })

  test('speech streams: its first bytes arrive before its last are made', async () => {
    const response = await under.azure.audio.speech.create({
      model: 'slow-tts',
      voice: 'nova',
      input: 'A longer sentence, which takes a while to say.',
    })
    const startedAt = performance.now()
    let firstMs = 0
    let bytes = 0
    for await (const chunk of response.body ?? []) {
      if (bytes === 0) firstMs = performance.now() - startedAt
      bytes += chunk.byteLength
    }
    expect(performance.now() - startedAt - firstMs).toBeGreaterThan(300)
    expect(response.headers.get('content-type')).toBe('audio/mpeg')
  })

  test('what the twin said it can hear again, in every format that carries metadata', async () => {
    for (const format of ['wav', 'mp3', 'opus'] as const) {
      const file = await hear(await speak('The order leaves on Friday.', format), `audio.${format}`)
      const transcription = await under.openai.audio.transcriptions.create({ model: 'whisper-1', file })
      expect(transcription.text).toBe('The order leaves on Friday.')
    }
  })

  test('other audio is heard the same way every time, and differently from different audio', async () => {
    const text = async (byte: number) =>
      (
        await under.azure.audio.transcriptions.create({
          model: 'whisper-1',
          file: await hear(Buffer.alloc(64_000, byte)),
        })
      ).text
    expect(await text(1)).toBe(await text(1))
    expect(await text(1)).not.toBe(await text(2))
    expect((await text(1)).split(' ').length).toBeGreaterThan(5)
  })

  test('every response format has its shape', async () => {
    const file = await hear(await speak('First sentence. Second sentence.', 'wav'))
    const create = under.openai.audio.transcriptions
    const verbose = await create.create({
      model: 'whisper-1',
      file,
      response_format: 'verbose_json',
      timestamp_granularities: ['word'],
    })
    expect(verbose).toMatchObject({ text: 'First sentence. Second sentence.', language: 'english' })
    expect(verbose.segments).toHaveLength(2)
    expect(verbose.words?.map((word) => word.word)).toEqual(['First', 'sentence.', 'Second', 'sentence.'])
    expect(verbose.segments?.[0]?.end).toBe(verbose.segments?.[1]?.start)
    expect(await create.create({ model: 'whisper-1', file, response_format: 'text' })).toBe(
      'First sentence. Second sentence.\n',
    )
    expect(await create.create({ model: 'whisper-1', file, response_format: 'srt' })).toMatch(
      /^1\n00:00:00,000 --> 00:00:0\d,\d{3}\nFirst sentence\.\n/,
    )
    expect(await create.create({ model: 'whisper-1', file, response_format: 'vtt' })).toMatch(
      /^WEBVTT\n\n00:00:00\.000 --> /,
    )
  })

  test('a transcribing model streams deltas that add up', async () => {
    const file = await hear(await speak('The order leaves on Friday.', 'wav'))
    let deltas = ''
    let done = ''
    for await (const event of await under.openai.audio.transcriptions.create({
      model: 'transcribe',
      file,
      stream: true,
    })) {
      if (event.type === 'transcript.text.delta') deltas += event.delta
      if (event.type === 'transcript.text.done') done = event.text
    }
    expect(deltas).toBe('The order leaves on Friday.')
    expect(done).toBe(deltas)
  })

  test('bad audio calls are 400s that name the parameter, too large ones 413', async () => {
    const speech = (fields: object) =>
      under.openai.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'x', ...fields })
    await expect(speech({ input: '' })).rejects.toMatchObject({ status: 400, param: 'input' })
    await expect(speech({ input: 'x'.repeat(4_097) })).rejects.toMatchObject({ code: 'string_above_max_length' })
    await expect(speech({ voice: 'darth' })).rejects.toMatchObject({ param: 'voice' })
    await expect(speech({ speed: 9 })).rejects.toMatchObject({ param: 'speed' })
    await expect(speech({ model: 'whisper-1' })).rejects.toMatchObject({ code: 'OperationNotSupported' })
    const transcribe = async (audio: Buffer, fields: object = {}) =>
      under.openai.audio.transcriptions.create({ model: 'whisper-1', file: await hear(audio), ...fields })
    await expect(transcribe(Buffer.alloc(0))).rejects.toMatchObject({ code: 'audio_too_short' })
    await expect(transcribe(Buffer.alloc(10), { response_format: 'xml' })).rejects.toMatchObject({
      param: 'response_format',
    })
    await expect(transcribe(Buffer.alloc(10), { model: 'nowhere' })).rejects.toMatchObject({
      code: 'DeploymentNotFound',
    })
    await expect(transcribe(Buffer.alloc(26 * 1024 * 1024))).rejects.toMatchObject({ status: 413 })
    const json = await fetch(`${under.twin.url}/r/${resource}/openai/v1/audio/transcriptions`, {
      method: 'POST',
      headers: { 'api-key': apiKey, 'content-type': 'application/json' },
      body: '{}',
    })
    expect(json.status).toBe(415)
  })

  test('legacy completions: best_of candidates all count, n are shown, streams add up', async () => {
    const request = { model: 'instruct', prompt: 'Say something about tides', max_tokens: 50 }
    const answer = await under.openai.completions.create({ ...request, best_of: 3, n: 2 }).withResponse()
    expect(answer.data.choices).toHaveLength(2)
    const estimate = 10_000 - Number(answer.response.headers.get('x-ratelimit-remaining-tokens'))
    expect(estimate).toBe(Math.ceil('user: Say something about tides\n'.length / 4) + 150)
    const whole = await under.openai.completions.create(request)
    let text = ''
    for await (const chunk of await under.openai.completions.create({ ...request, stream: true }))
      text += chunk.choices[0]?.text ?? ''
    expect(text).toBe(whole.choices[0]?.text)
    await expect(under.openai.completions.create({ ...request, best_of: 1, n: 2 })).rejects.toMatchObject({
      param: 'best_of',
    })
  })
})
