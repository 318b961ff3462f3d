import type { Json } from '../json-fields.ts'

export const transcriptionFormats = ['json', 'text', 'srt', 'verbose_json', 'vtt'] as const
export type TranscriptionFormat = (typeof transcriptionFormats)[number]

export interface Transcript {
  text: string
  seconds: number
  language: string
}

interface Segment {
  text: string
  start: number
  end: number
}

/** Sentences, each with its share of the time by its length. */
function segmentsOf({ text, seconds }: Transcript): Segment[] {
  const sentences = text.match(/[^.!?]+[.!?]*\s*/g) ?? [text]
  let at = 0
  return sentences.map((sentence) => {
    const start = at
    at += (sentence.length / Math.max(1, text.length)) * seconds
    return { text: sentence.trim(), start, end: at }
  })
}

const clock = (seconds: number, mark: string): string => {
  const ms = Math.round(seconds * 1000)
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0')
  return `${two(ms / 3_600_000)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}${mark}${String(ms % 1000).padStart(3, '0')}`
}

const round = (value: number): number => Math.round(value * 100) / 100

function verbose(transcript: Transcript, words: boolean): Json {
  const segments = segmentsOf(transcript)
  const body: Json = {
    task: 'transcribe',
    language: transcript.language,
    duration: round(transcript.seconds),
    text: transcript.text,
    segments: segments.map((segment, id) => ({
      id,
      seek: 0,
      start: round(segment.start),
      end: round(segment.end),
      text: segment.text,
      tokens: [],
      temperature: 0,
      avg_logprob: -0.2,
      compression_ratio: 1,
      no_speech_prob: 0.01,
    })),
    usage: { type: 'duration', seconds: Math.ceil(transcript.seconds) },
  }
  if (words) {
    body['words'] = segments.flatMap((segment) => {
      const spoken = segment.text.split(/\s+/)
      const each = (segment.end - segment.start) / spoken.length
      return spoken.map((word, i) => ({
        word,
        start: round(segment.start + i * each),
        end: round(segment.start + (i + 1) * each),
      }))
    })
  }
  return body
}

/** A transcript in the asked format: a JSON body, or the text of the others. */
export function formatTranscript(
  transcript: Transcript,
  format: TranscriptionFormat,
  words: boolean,
  usage: Json,
): Json | string {
  if (format === 'json') return { text: transcript.text, usage }
  if (format === 'verbose_json') return verbose(transcript, words)
  if (format === 'text') return `${transcript.text}\n`
  const mark = format === 'srt' ? ',' : '.'
  const cues = segmentsOf(transcript).map((segment, i) => {
    const number = format === 'srt' ? `${i + 1}\n` : ''
    return `${number}${clock(segment.start, mark)} --> ${clock(segment.end, mark)}\n${segment.text}\n`
  })
  return `${format === 'vtt' ? 'WEBVTT\n\n' : ''}${cues.join('\n')}`
}
