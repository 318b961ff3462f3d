import { AzureError, invalidRequest } from '../http/azure-error.ts'
import { heardText } from '../audio/transcript.ts'
import type { Deployment } from '../quotas/deployment.ts'
import { newId } from '../files/file-store.ts'
import { isObject, listOf, numberOf, objectOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { hashText } from '../model/seeded-draw.ts'
import type { TwinCore } from '../twin.ts'
import { respond } from './realtime-response.ts'
import { betaSession, mergeSession } from './session-settings.ts'
import type { SessionSettings } from './session-settings.ts'
import { VoiceActivity } from './voice-activity.ts'

const bytesPerSecond = 48_000
const maxBufferBytes = 15 * 1024 * 1024
const minCommitBytes = bytesPerSecond / 10
const itemTypes = new Set(['message', 'function_call', 'function_call_output'])

const failure = (message: string, code: string, param: string | null = null): AzureError =>
  invalidRequest(message, param, code)

/** One realtime conversation: takes client events, answers with server events, runs at most one response at a time. */
export class RealtimeSession {
  readonly #twin: TwinCore
  readonly #deployment: Deployment
  readonly #send: (type: string, fields: Json) => void
  readonly #beta: boolean
  #session: SessionSettings
  readonly #items: Json[] = []
  #audio: Buffer[] = []
  #audioBytes = 0
  #inputAudioTokens = 0
  #voice = new VoiceActivity()
  #active: { cancelled: boolean } | undefined
  #closed = false
  #wake: (() => void) | undefined

  constructor(
    twin: TwinCore,
    deployment: Deployment,
    session: SessionSettings,
    beta: boolean,
    send: (type: string, fields: Json) => void,
  ) {
    this.#twin = twin
    this.#deployment = deployment
    this.#session = session
    this.#beta = beta
    this.#send = send
  }

  open(): void {
    this.#send('session.created', { session: this.#shown() })
  }

  close(): void {
    this.#closed = true
    if (this.#active) this.#active.cancelled = true
    this.#wake?.()
  }

  /** Handles one client event; what is wrong with it comes back as an error event, and the session goes on. */
  receive(data: string): void {
    let event: Json = {}
    try {
      event = parseEvent(data)
      this.#handle(textOf(event['type']) ?? '', event)
    } catch (error) {
      const known =
        error instanceof AzureError
          ? error
          : failure('The server had an error while processing your event.', 'server_error')
      const { message, type, code, param } = objectOf(objectOf(known.body)['error'])
      this.#send('error', { error: { type, code, message, param, event_id: event['event_id'] ?? null } })
    }
  }

  #shown(): Json {
    return this.#beta ? betaSession(this.#session) : this.#session
  }

  #handle(type: string, event: Json): void {
    switch (type) {
      case 'session.update':
        return this.#update(event['session'])
      case 'conversation.item.create':
        return this.#create(event['item'])
      case 'conversation.item.retrieve':
        return this.#send('conversation.item.retrieved', { item: this.#item(event['item_id']) })
      case 'conversation.item.delete':
        this.#items.splice(this.#items.indexOf(this.#item(event['item_id'])), 1)
        return this.#send('conversation.item.deleted', { item_id: event['item_id'] })
      case 'conversation.item.truncate':
        return this.#truncate(event)
      case 'input_audio_buffer.append':
        return this.#append(event['audio'])
      case 'input_audio_buffer.commit':
        return this.#commit()
      case 'input_audio_buffer.clear':
        this.#emptyBuffer()
        return this.#send('input_audio_buffer.cleared', {})
      case 'response.create':
        return this.#respond(objectOf(event['response']))
      case 'response.cancel':
        if (!this.#active) throw failure('Cancellation failed: no active response found.', 'response_cancel_not_active')
        this.#active.cancelled = true
        return this.#wake?.()
      default:
        throw failure(
          `Invalid value: '${type}'. It is not a client event of the Realtime API.`,
          'invalid_value',
          'type',
        )
    }
  }

  #update(change: unknown): void {
    if (!isObject(change))
      throw failure("Missing required parameter: 'session'.", 'missing_required_parameter', 'session')
    if (!this.#beta && change['type'] !== 'realtime') {
      throw failure("Missing required parameter: 'session.type'.", 'missing_required_parameter', 'session.type')
    }
    this.#session = mergeSession(this.#session, change, this.#beta)
    this.#send('session.updated', { session: this.#shown() })
  }

  #create(value: unknown): void {
    if (!isObject(value)) throw failure("Missing required parameter: 'item'.", 'missing_required_parameter', 'item')
    if (!itemTypes.has(String(value['type'])))
      throw failure("Invalid value for 'item.type'.", 'invalid_value', 'item.type')
    if (value['type'] === 'message' && typeof value['role'] !== 'string')
      throw failure("Missing required parameter: 'item.role'.", 'missing_required_parameter', 'item.role')
    this.#add({ object: 'realtime.item', status: 'completed', ...value, id: textOf(value['id']) ?? newId('item_') })
  }

  #add(item: Json): void {
    const previous = this.#items.at(-1)?.['id'] ?? null
    this.#items.push(item)
    this.#send('conversation.item.added', { previous_item_id: previous, item })
    this.#send('conversation.item.done', { previous_item_id: previous, item })
  }

  #item(id: unknown): Json {
    const item = this.#items.find((one) => one['id'] === id)
    if (!item) throw failure(`Item with item_id '${textOf(id) ?? ''}' not found.`, 'item_not_found', 'item_id')
    return item
  }

  #truncate(event: Json): void {
    const item = this.#item(event['item_id'])
    if (item['role'] !== 'assistant')
      throw failure('Only model output audio messages can be truncated.', 'invalid_value', 'item_id')
    const endMs = numberOf(event['audio_end_ms']) ?? 0
    // A token was spoken in 100 ms, so the transcript is cut in proportion.
    const words = Math.floor(endMs / 100)
    item['content'] = listOf(item['content']).map((part) => ({
      ...objectOf(part),
      transcript: (textOf(objectOf(part)['transcript']) ?? '').split(' ').slice(0, words).join(' '),
    }))
    this.#send('conversation.item.truncated', {
      item_id: item['id'],
      content_index: event['content_index'] ?? 0,
      audio_end_ms: endMs,
    })
  }

  #append(value: unknown): void {
    const encoded = textOf(value)
    if (encoded === undefined || !/^[A-Za-z0-9+/]*={0,2}$/.test(encoded))
      throw failure("Invalid 'audio': expected base64.", 'invalid_value', 'audio')
    const audio = Buffer.from(encoded, 'base64')
    if (this.#audioBytes + audio.byteLength > maxBufferBytes)
      throw failure('The input audio buffer is full.', 'input_audio_buffer_full', 'audio')
    this.#audio.push(audio)
    this.#audioBytes += audio.byteLength
    const detection = this.#session.audio.input['turn_detection']
    if (!isObject(detection)) return
    for (const change of this.#voice.hear(audio, { silenceMs: numberOf(detection['silence_duration_ms']) ?? 500 })) {
      if (change.type === 'started') {
        this.#send('input_audio_buffer.speech_started', { audio_start_ms: change.atMs, item_id: null })
        if (this.#active && detection['interrupt_response'] !== false) {
          this.#active.cancelled = true
          this.#wake?.()
        }
        continue
      }
      this.#send('input_audio_buffer.speech_stopped', { audio_end_ms: change.atMs, item_id: null })
      this.#commit()
      if (detection['create_response'] !== false && !this.#active) this.#respond({})
    }
  }

  #commit(): void {
    if (this.#audioBytes < minCommitBytes) {
      throw failure(
        `Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but buffer only has ${(this.#audioBytes / 48).toFixed(2)}ms of audio.`,
        'input_audio_buffer_commit_empty',
      )
    }
    const seconds = this.#audioBytes / bytesPerSecond
    const transcript = heardText(hashText(Buffer.concat(this.#audio).toString('latin1'), this.#twin.seed), seconds)
    this.#inputAudioTokens += Math.ceil(seconds * 10)
    this.#emptyBuffer()
    const id = newId('item_')
    this.#send('input_audio_buffer.committed', { previous_item_id: this.#items.at(-1)?.['id'] ?? null, item_id: id })
    this.#add({
      id,
      object: 'realtime.item',
      type: 'message',
      status: 'completed',
      role: 'user',
      content: [{ type: 'input_audio', transcript }],
    })
    if (!isObject(this.#session.audio.input['transcription'])) return
    const usage = { type: 'duration', seconds: Math.ceil(seconds) }
    this.#send('conversation.item.input_audio_transcription.completed', {
      item_id: id,
      content_index: 0,
      transcript,
      usage,
    })
  }

  #emptyBuffer(): void {
    this.#audio = []
    this.#audioBytes = 0
  }

  #respond(change: Json): void {
    if (this.#active)
      throw failure(
        'Conversation already has an active response in progress.',
        'conversation_already_has_active_response',
      )
    const { input, ...settings } = change
    const session = mergeSession(this.#session, settings, this.#beta)
    const active = { cancelled: false }
    this.#active = active
    const channel = { send: this.#send, pause: (ms: number) => this.#pause(ms), cancelled: () => active.cancelled }
    const items = Array.isArray(input) ? input.filter(isObject) : [...this.#items]
    void respond(
      this.#twin,
      this.#deployment,
      { items, session, inputAudioTokens: this.#inputAudioTokens },
      change['metadata'],
      channel,
    ).then((output) => {
      // An out-of-band response (conversation: none) leaves no trace in the conversation.
      if (change['conversation'] !== 'none') this.#items.push(...output)
      this.#active = undefined
      if (!this.#closed) this.#send('rate_limits.updated', { rate_limits: this.#rateLimits() })
    })
  }

  #rateLimits(): Json[] {
    const headers = this.#deployment.quotaHeaders()
    const value = (name: string): number => Number(headers[headers.indexOf(name) + 1])
    return ['requests', 'tokens']
      .filter((name) => headers.includes(`x-ratelimit-limit-${name}`))
      .map((name) => ({
        name,
        limit: value(`x-ratelimit-limit-${name}`),
        remaining: value(`x-ratelimit-remaining-${name}`),
        reset_seconds: value(`x-ratelimit-reset-${name}`),
      }))
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wake = undefined
  }
}

function parseEvent(data: string): Json {
  try {
    const value: unknown = JSON.parse(data)
    if (isObject(value)) return value
  } catch {
    // Answered like JSON that is no object.
  }
  throw failure('The event could not be parsed as a JSON object.', 'invalid_json')
}
