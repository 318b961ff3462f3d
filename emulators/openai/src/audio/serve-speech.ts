import { contentFiltered, invalidRequest } from '../http/azure-error.ts'
import type { Deployment } from '../quotas/deployment.ts'
import type { Exchange } from '../http/exchange.ts'
import { textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { hashPrompt, readPrompt } from '../model/prompt.ts'
import { missing, numberField, requireOperation } from '../http/request-fields.ts'
import { countTokens } from '../model/tokens.ts'
import { contentTypes, speechChunks, speechFormats } from './audio-formats.ts'
import type { SpeechFormat } from './audio-formats.ts'

const voices = [
  'alloy',
  'ash',
  'ballad',
  'coral',
  'echo',
  'fable',
  'marin',
  'cedar',
  'nova',
  'onyx',
  'sage',
  'shimmer',
  'verse',
]
const charactersPerSecond = 15

interface SpeechRequest {
  input: string
  seconds: number
  format: SpeechFormat
  events: boolean
}

function parseSpeechRequest(body: Json): SpeechRequest {
  const input = textOf(body['input'])
  if (input === undefined || input === '') throw missing('input')
  if (input.length > 4_096)
    throw invalidRequest(
      "Invalid 'input': string too long. Expected a string with maximum length 4096.",
      'input',
      'string_above_max_length',
    )
  const voice = textOf(body['voice'])
  if (voice === undefined) throw missing('voice')
  if (!voices.includes(voice))
    throw invalidRequest(
      `Invalid value: '${voice}'. Supported values are: ${voices.map((name) => `'${name}'`).join(', ')}.`,
      'voice',
      'invalid_value',
    )
  const format = speechFormats.find((name) => name === (body['response_format'] ?? 'mp3'))
  if (!format)
    throw invalidRequest(
      `Invalid value for response_format. This twin speaks ${speechFormats.join(', ')}.`,
      'response_format',
      'invalid_value',
    )
  const speed = numberField(body, 'speed', 0.25, 4, 'decimal') ?? 1
  return {
    input,
    seconds: Math.max(0.2, input.length / charactersPerSecond / speed),
    format,
    events: body['stream_format'] === 'sse',
  }
}

/** Speech as a binary stream in the order of its chunks, or as events for stream_format sse. */
export async function serveSpeech(exchange: Exchange, deployment: Deployment, body: Json): Promise<void> {
  await exchange.meet(deployment)
  requireOperation(deployment.settings, 'speech')
  const request = parseSpeechRequest(body)
  const prompt = readPrompt([{ role: 'user', content: request.input }])
  const promptTokens = countTokens(request.input)
  exchange.record.prompt_hash = hashPrompt(prompt, exchange.twin.seed).toString(16)
  exchange.record.model = deployment.settings.model
  exchange.admit(deployment, { promptTokens: Math.ceil(request.input.length / 4), outputTokens: 0 })
  if (prompt.markers.filter) throw contentFiltered(prompt.markers.filter.category)
  const audioTokens = Math.ceil(request.seconds * 20)
  exchange.use({ promptTokens, cachedTokens: 0, completionTokens: audioTokens })
  const { first_token_ms: firstMs, per_token_ms: perTokenMs } = deployment.settings.latency
  if (firstMs > 0) await exchange.delay(firstMs)
  exchange.startStream(request.events ? 'text/event-stream; charset=utf-8' : contentTypes[request.format])
  for (const chunk of speechChunks(request.input, request.seconds, request.format)) {
    const event = request.events
      ? `data: ${JSON.stringify({ type: 'speech.audio.delta', audio: chunk.toString('base64') })}\n\n`
      : chunk
    await exchange.write(event)
    // A chunk of 200 ms is four audio tokens.
    if (perTokenMs > 0) await exchange.delay(perTokenMs * 4)
  }
  if (request.events) {
    const usage = { input_tokens: promptTokens, output_tokens: audioTokens, total_tokens: promptTokens + audioTokens }
    await exchange.write(`data: ${JSON.stringify({ type: 'speech.audio.done', usage })}\n\n`)
  }
  exchange.end()
}
