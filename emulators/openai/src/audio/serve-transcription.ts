import { deploymentNotFound, invalidRequest, payloadTooLarge } from '../http/azure-error.ts'
import type { Exchange } from '../http/exchange.ts'
import { readForm } from '../files/multipart.ts'
import type { Part } from '../files/multipart.ts'
import type { Json } from '../json-fields.ts'
import { missing, requireOperation } from '../http/request-fields.ts'
import { hashText } from '../model/seeded-draw.ts'
import { countTokens, splitTokens } from '../model/tokens.ts'
import { sampleRate } from './audio-formats.ts'
import { heardText, spokenText } from './transcript.ts'
import { formatTranscript, transcriptionFormats } from './transcription-formats.ts'
import type { Transcript, TranscriptionFormat } from './transcription-formats.ts'

const maxBytes = 25 * 1024 * 1024
const headBytes = 16 * 1024

interface HeardAudio {
  bytes: number
  head: Buffer
  hash: number
}

/** Takes in audio without keeping it: its size, its beginning, and a hash of all of it. */
async function hear(part: Part): Promise<HeardAudio> {
  let head = Buffer.alloc(0)
  let bytes = 0
  let hash = 0
  for await (const chunk of part.content) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) throw payloadTooLarge(maxBytes)
    if (head.byteLength < headBytes) head = Buffer.concat([head, chunk.subarray(0, headBytes - head.byteLength)])
    hash = hashText(chunk.toString('latin1'), hash | 0)
  }
  return { bytes, head, hash }
}

/** Seconds of audio: exact for 16-bit wav, else as if it were 128 kbit/s. */
function secondsOf({ head, bytes }: HeardAudio): number {
  const wav = head.subarray(0, 4).toString('latin1') === 'RIFF' && head.byteLength >= 32
  const bytesPerSecond = wav ? head.readUInt32LE(28) || sampleRate * 2 : 16_000
  return Math.max(0.1, bytes / bytesPerSecond)
}

function transcribe(audio: HeardAudio, language: string | undefined): Transcript {
  const seconds = secondsOf(audio)
  return { text: spokenText(audio.head) ?? heardText(audio.hash, seconds), seconds, language: language ?? 'english' }
}

async function streamTranscript(exchange: Exchange, text: string, usage: Json): Promise<void> {
  exchange.startStream('text/event-stream; charset=utf-8')
  for (const delta of splitTokens(text)) {
    await exchange.write(`data: ${JSON.stringify({ type: 'transcript.text.delta', delta })}\n\n`)
    const perTokenMs = exchange.deployment?.settings.latency.per_token_ms ?? 0
    if (perTokenMs > 0) await exchange.delay(perTokenMs)
  }
  await exchange.write(`data: ${JSON.stringify({ type: 'transcript.text.done', text, usage })}\n\n`)
  exchange.end()
}

/** A multipart transcription; `named` is the deployment of the path, else the form's model names it. */
export async function serveTranscription(exchange: Exchange, named: string | undefined): Promise<void> {
  const { fields, file } = await readForm(exchange.req, hear)
  const name = named ?? fields.get('model')
  if (name === undefined) throw missing('model')
  const deployment = exchange.resource.deployments.get(name)
  if (!deployment) throw deploymentNotFound()
  await exchange.meet(deployment)
  const { settings } = deployment
  requireOperation(settings, 'transcriptions')
  if (!file) throw missing('file')
  if (file.bytes === 0)
    throw invalidRequest('Audio file is too short. Minimum audio length is 0.1 seconds.', 'file', 'audio_too_short')
  const format = transcriptionFormats.find((one) => one === (fields.get('response_format') ?? 'json')) satisfies
    | TranscriptionFormat
    | undefined
  if (!format)
    throw invalidRequest(
      `Invalid value for response_format. Supported values are: ${transcriptionFormats.join(', ')}.`,
      'response_format',
      'invalid_value',
    )
  const transcript = transcribe(file, fields.get('language'))
  exchange.record.prompt_hash = file.hash.toString(16)
  exchange.record.model = settings.model
  const audioTokens = Math.ceil(transcript.seconds * 10)
  exchange.admit(deployment, { promptTokens: audioTokens, outputTokens: 0 })
  const outputTokens = countTokens(transcript.text)
  exchange.use({ promptTokens: audioTokens, cachedTokens: 0, completionTokens: outputTokens })
  const usage: Json = /whisper/.test(settings.model)
    ? { type: 'duration', seconds: Math.ceil(transcript.seconds) }
    : {
        type: 'tokens',
        input_tokens: audioTokens,
        input_token_details: { text_tokens: 0, audio_tokens: audioTokens },
        output_tokens: outputTokens,
        total_tokens: audioTokens + outputTokens,
      }
  if (settings.latency.first_token_ms > 0) await exchange.delay(settings.latency.first_token_ms)
  // Whisper does not stream; it ignores the flag, as the service does.
  if (fields.get('stream') === 'true' && !/whisper/.test(settings.model))
    return streamTranscript(exchange, transcript.text, usage)
  const granularities = [...fields.entries()].some(
    ([field, value]) => field.startsWith('timestamp_granularities') && value === 'word',
  )
  const body = formatTranscript(transcript, format, granularities, usage)
  if (typeof body === 'string') return exchange.send(body, 'text/plain; charset=utf-8')
  return exchange.json(body)
}
