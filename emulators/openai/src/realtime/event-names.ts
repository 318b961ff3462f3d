import { isObject, listOf, objectOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'

const betaTypes: Record<string, string> = {
  'conversation.item.added': 'conversation.item.created',
  'response.output_text.delta': 'response.text.delta',
  'response.output_text.done': 'response.text.done',
  'response.output_audio.delta': 'response.audio.delta',
  'response.output_audio.done': 'response.audio.done',
  'response.output_audio_transcript.delta': 'response.audio_transcript.delta',
  'response.output_audio_transcript.done': 'response.audio_transcript.done',
}

const betaPart = (part: unknown): unknown => {
  const { type, ...rest } = objectOf(part)
  return { type: type === 'output_text' ? 'text' : type === 'output_audio' ? 'audio' : type, ...rest }
}

const betaItem = (item: unknown): unknown =>
  isObject(item) && Array.isArray(item['content']) ? { ...item, content: item['content'].map(betaPart) } : item

/** A server event of the v1 API as the preview API named and shaped it; undefined for one that it did not have. */
export function toBetaEvent(type: string, fields: Json): { type: string; fields: Json } | undefined {
  if (type === 'conversation.item.done') return undefined
  const translated: Json = { ...fields }
  if ('part' in fields) translated['part'] = betaPart(fields['part'])
  if ('item' in fields) translated['item'] = betaItem(fields['item'])
  if (isObject(fields['response'])) {
    const { output_modalities: modalities, ...response } = fields['response']
    const spoken = listOf(modalities).includes('audio')
    translated['response'] = {
      ...response,
      modalities: spoken ? ['text', 'audio'] : ['text'],
      output: listOf(response['output']).map(betaItem),
    }
  }
  return { type: betaTypes[type] ?? type, fields: translated }
}
