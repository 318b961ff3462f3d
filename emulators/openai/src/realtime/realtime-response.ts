import { AzureError } from '../http/azure-error.ts'
import { tone } from '../audio/audio-formats.ts'
import type { Deployment } from '../quotas/deployment.ts'
import { newId } from '../files/file-store.ts'
import type { Choice } from '../model/generation.ts'
import { objectOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { hashPrompt, readPrompt } from '../model/prompt.ts'
import { toolsField } from '../http/request-fields.ts'
import { estimateCall, runModel } from '../model/run-model.ts'
import type { ModelRun } from '../model/run-model.ts'
import type { TwinCore } from '../twin.ts'
import type { SessionSettings } from './session-settings.ts'

/** Where a response's events go, and how it waits; both fail once the socket is closed or the response cancelled. */
export interface ResponseChannel {
  send: (type: string, fields: Json) => void
  pause: (ms: number) => Promise<void>
  cancelled: () => boolean
}

export interface ResponseInput {
  items: readonly Json[]
  session: SessionSettings
  /** Input audio in this conversation, in tokens of 100 ms. */
  inputAudioTokens: number
}

// A spoken token is 100 ms of audio, which is two audio tokens.
const samplesPerToken = 2_400
const audioTokensPerToken = 2

interface Progress {
  id: string
  item: Json | undefined
  sentTokens: number
}

function usageOf(run: ModelRun, input: ResponseInput, spoken: boolean, sentTokens: number): Json {
  const audio = spoken ? sentTokens * audioTokensPerToken : 0
  const output = sentTokens + audio
  const inputTokens = run.usage.promptTokens + input.inputAudioTokens
  return {
    total_tokens: inputTokens + output,
    input_tokens: inputTokens,
    output_tokens: output,
    input_token_details: {
      text_tokens: run.usage.promptTokens,
      audio_tokens: input.inputAudioTokens,
      image_tokens: 0,
      cached_tokens: run.usage.cachedTokens,
      cached_tokens_details: { text_tokens: run.usage.cachedTokens, audio_tokens: 0, image_tokens: 0 },
    },
    output_token_details: { text_tokens: sentTokens, audio_tokens: audio },
  }
}

async function sendCalls(choice: Choice, run: ModelRun, channel: ResponseChannel, progress: Progress): Promise<Json[]> {
  const items: Json[] = []
  for (const [index, call] of choice.toolCalls.entries()) {
    const item = {
      id: newId('item_'),
      object: 'realtime.item',
      type: 'function_call',
      name: call.name,
      call_id: call.id,
    }
    const place = { response_id: progress.id, item_id: item.id, output_index: index }
    channel.send('response.output_item.added', {
      response_id: progress.id,
      output_index: index,
      item: { ...item, status: 'in_progress', arguments: '' },
    })
    channel.send('conversation.item.added', {
      previous_item_id: null,
      item: { ...item, status: 'in_progress', arguments: '' },
    })
    for (const delta of call.pieces) {
      if (run.perTokenMs > 0) await channel.pause(run.perTokenMs)
      if (channel.cancelled()) return items
      progress.sentTokens++
      channel.send('response.function_call_arguments.delta', { ...place, call_id: call.id, delta })
    }
    const finished = { ...item, status: 'completed', arguments: call.pieces.join('') }
    channel.send('response.function_call_arguments.done', {
      ...place,
      call_id: call.id,
      name: call.name,
      arguments: finished.arguments,
    })
    channel.send('response.output_item.done', { response_id: progress.id, output_index: index, item: finished })
    channel.send('conversation.item.done', { previous_item_id: null, item: finished })
    items.push(finished)
  }
  return items
}

async function sendMessage(
  choice: Choice,
  run: ModelRun,
  spoken: boolean,
  channel: ResponseChannel,
  progress: Progress,
): Promise<Json> {
  const item = { id: newId('item_'), object: 'realtime.item', type: 'message', role: 'assistant' }
  const place = { response_id: progress.id, item_id: item.id, output_index: 0, content_index: 0 }
  const content = (text: string): Json =>
    spoken ? { type: 'output_audio', transcript: text } : { type: 'output_text', text }
  const started = { ...item, status: 'in_progress', content: [] }
  channel.send('response.output_item.added', { response_id: progress.id, output_index: 0, item: started })
  channel.send('conversation.item.added', { previous_item_id: null, item: started })
  channel.send('response.content_part.added', { ...place, part: content('') })
  let text = ''
  for (const delta of choice.pieces) {
    if (channel.cancelled()) break
    text += delta
    progress.item = { ...item, status: 'incomplete', content: [content(text)] }
    if (spoken) {
      channel.send('response.output_audio_transcript.delta', { ...place, delta })
      const audio = tone(samplesPerToken, progress.sentTokens * samplesPerToken)
      channel.send('response.output_audio.delta', { ...place, delta: audio.toString('base64') })
    } else channel.send('response.output_text.delta', { ...place, delta })
    progress.sentTokens++
    if (run.perTokenMs > 0) await channel.pause(run.perTokenMs)
  }
  const whole = choice.finish === 'stop' && !channel.cancelled()
  const finished = { ...item, status: whole ? 'completed' : 'incomplete', content: [content(text)] }
  if (spoken) {
    channel.send('response.output_audio.done', place)
    channel.send('response.output_audio_transcript.done', { ...place, transcript: text })
  } else channel.send('response.output_text.done', { ...place, text })
  channel.send('response.content_part.done', { ...place, part: content(text) })
  channel.send('response.output_item.done', { response_id: progress.id, output_index: 0, item: finished })
  channel.send('conversation.item.done', { previous_item_id: null, item: finished })
  return finished
}

function errorDetails(error: unknown): { status: string; status_details: Json } {
  const body = objectOf(error instanceof AzureError ? objectOf(error.body)['error'] : undefined)
  if (body['code'] === 'content_filter')
    return { status: 'incomplete', status_details: { type: 'incomplete', reason: 'content_filter' } }
  const code = error instanceof AzureError ? body['code'] : 'server_error'
  return {
    status: 'failed',
    status_details: { type: 'failed', error: { type: 'invalid_request_error', code, message: body['message'] } },
  }
}

/**
 * One response from created to done: the quota first, then the answer as text, or as speech with its transcript, or as
 * function calls. Returns the items that it added to the conversation.
 */
export async function respond(
  twin: TwinCore,
  deployment: Deployment,
  input: ResponseInput,
  metadata: unknown,
  channel: ResponseChannel,
): Promise<Json[]> {
  const progress: Progress = { id: newId('resp_'), item: undefined, sentTokens: 0 }
  const { session } = input
  const spoken = session.output_modalities.includes('audio')
  const head = {
    object: 'realtime.response',
    id: progress.id,
    output_modalities: session.output_modalities,
    max_output_tokens: session.max_output_tokens,
    metadata: metadata ?? null,
  }
  channel.send('response.created', {
    response: { ...head, status: 'in_progress', status_details: null, output: [], usage: null },
  })
  const done = (status: string, details: Json | null, output: Json[], usage: Json | null): void =>
    channel.send('response.done', { response: { ...head, status, status_details: details, output, usage } })
  let settled = (): void => undefined
  try {
    const tools = toolsField({ tools: session.tools, tool_choice: session.tool_choice })
    const prompt = readPrompt([{ role: 'system', content: session.instructions }, ...input.items])
    const maxTokens = session.max_output_tokens === 'inf' ? undefined : session.max_output_tokens
    const request = {
      prompt,
      promptHash: hashPrompt(prompt, twin.seed),
      maxTokens,
      choices: 1,
      stop: [],
      tools,
      format: { type: 'text' as const },
      reasoningEffort: undefined,
    }
    const estimate = estimateCall(deployment, request)
    const refusal = deployment.admit(estimate)
    if (refusal) {
      const message = `Rate limit reached for ${deployment.settings.name}. Please try again in ${(refusal.retryAfterMs / 1000).toFixed(3)}s.`
      done(
        'failed',
        { type: 'failed', error: { type: 'rate_limit_error', code: 'rate_limit_exceeded', message } },
        [],
        null,
      )
      return []
    }
    settled = () => deployment.settle(estimate, undefined)
    const run = runModel(twin, deployment, request)
    settled = () => deployment.settle(estimate, { ...run.usage, completionTokens: progress.sentTokens })
    if (run.firstTokenMs > 0) await channel.pause(run.firstTokenMs)
    const choice = run.generation.choices[0]
    const output =
      choice && choice.toolCalls.length > 0
        ? await sendCalls(choice, run, channel, progress)
        : choice
          ? [await sendMessage(choice, run, spoken, channel, progress)]
          : []
    const usage = usageOf(run, input, spoken && choice?.toolCalls.length === 0, progress.sentTokens)
    if (channel.cancelled()) done('cancelled', { type: 'cancelled', reason: 'client_cancelled' }, output, usage)
    else if (choice?.finish === 'length')
      done('incomplete', { type: 'incomplete', reason: 'max_output_tokens' }, output, usage)
    else if (choice?.finish === 'content_filter')
      done('incomplete', { type: 'incomplete', reason: 'content_filter' }, output, usage)
    else done('completed', null, output, usage)
    return output
  } catch (error) {
    const { status, status_details: details } = errorDetails(error)
    done(status, details, progress.item ? [progress.item] : [], null)
    return []
  } finally {
    settled()
  }
}
