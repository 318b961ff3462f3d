import { invalidRequest } from '../http/azure-error.ts'
import { newId } from '../files/file-store.ts'
import { isObject, listOf, numberOf, objectOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'

/** A realtime session's settings in the shape of the v1 API; the preview's flat shape is translated at the edge. */
export interface SessionSettings extends Json {
  id: string
  model: string
  output_modalities: string[]
  instructions: string
  tools: unknown[]
  tool_choice: unknown
  max_output_tokens: number | 'inf'
  audio: { input: Json; output: Json }
}

const defaultDetection: Json = {
  type: 'server_vad',
  threshold: 0.5,
  prefix_padding_ms: 300,
  silence_duration_ms: 500,
  create_response: true,
  interrupt_response: true,
}

export const defaultSession = (model: string): SessionSettings => ({
  type: 'realtime',
  object: 'realtime.session',
  id: newId('sess_'),
  model,
  output_modalities: ['audio'],
  instructions: 'You are a helpful assistant.',
  tools: [],
  tool_choice: 'auto',
  max_output_tokens: 'inf',
  audio: {
    input: {
      format: { type: 'audio/pcm', rate: 24_000 },
      transcription: null,
      noise_reduction: null,
      turn_detection: defaultDetection,
    },
    output: { format: { type: 'audio/pcm', rate: 24_000 }, voice: 'alloy', speed: 1 },
  },
})

/** The preview's fields, each where the v1 API has it. */
function fromBeta(change: Json): Json {
  const { modalities, voice, turn_detection, input_audio_transcription, max_response_output_tokens, ...rest } = change
  const input = {
    ...(turn_detection === undefined ? {} : { turn_detection }),
    ...(input_audio_transcription === undefined ? {} : { transcription: input_audio_transcription }),
  }
  const audio = { input, output: voice === undefined ? {} : { voice } }
  return {
    ...rest,
    audio,
    ...(Array.isArray(modalities) ? { output_modalities: modalities.includes('audio') ? ['audio'] : ['text'] } : {}),
    ...(max_response_output_tokens === undefined ? {} : { max_output_tokens: max_response_output_tokens }),
  }
}

/** The preview's shape of a session. */
export function betaSession(session: SessionSettings): Json {
  return {
    id: session.id,
    object: 'realtime.session',
    model: session.model,
    modalities: session.output_modalities.includes('audio') ? ['text', 'audio'] : ['text'],
    instructions: session.instructions,
    voice: session.audio.output['voice'],
    input_audio_format: 'pcm16',
    output_audio_format: 'pcm16',
    input_audio_transcription: session.audio.input['transcription'] ?? null,
    turn_detection: session.audio.input['turn_detection'] ?? null,
    tools: session.tools,
    tool_choice: session.tool_choice,
    temperature: 0.8,
    max_response_output_tokens: session.max_output_tokens,
  }
}

const detectionOf = (present: unknown, change: unknown): unknown =>
  isObject(change) ? { ...defaultDetection, ...objectOf(present), ...change } : change

/** @throws AzureError 400 that names the field which cannot be. */
export function mergeSession(present: SessionSettings, wanted: Json, beta: boolean): SessionSettings {
  const change = beta ? fromBeta(wanted) : wanted
  const modalities = change['output_modalities']
  if (modalities !== undefined) {
    const list = listOf(modalities)
    if (list.length !== 1 || (list[0] !== 'text' && list[0] !== 'audio')) {
      throw invalidRequest(
        "Invalid modalities. Supported combinations are: ['text'] and ['audio'].",
        'session.output_modalities',
        'invalid_value',
      )
    }
  }
  const tools = change['tools']
  if (tools !== undefined && !Array.isArray(tools))
    throw invalidRequest('Invalid type for session.tools: expected an array.', 'session.tools', 'invalid_type')
  const limit = change['max_output_tokens']
  if (limit !== undefined && limit !== 'inf' && !(numberOf(limit) !== undefined && Number(limit) >= 1)) {
    throw invalidRequest(
      "Invalid max_output_tokens: expected 'inf' or an integer of at least 1.",
      'session.max_output_tokens',
      'invalid_value',
    )
  }
  const audio = objectOf(change['audio'])
  const input = objectOf(audio['input'])
  const detection =
    'turn_detection' in input
      ? { turn_detection: detectionOf(present.audio.input['turn_detection'], input['turn_detection']) }
      : {}
  return {
    ...present,
    instructions: textOf(change['instructions']) ?? present.instructions,
    output_modalities: modalities === undefined ? present.output_modalities : (modalities as string[]),
    tools: tools ?? present.tools,
    tool_choice: change['tool_choice'] ?? present.tool_choice,
    max_output_tokens: (limit ?? present.max_output_tokens) as number | 'inf',
    audio: {
      input: { ...present.audio.input, ...input, ...detection },
      output: { ...present.audio.output, ...objectOf(audio['output']) },
    },
  }
}
