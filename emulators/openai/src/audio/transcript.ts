import { Draws } from '../model/seeded-draw.ts'

const words = [
  'the',
  'meeting',
  'starts',
  'at',
  'noon',
  'please',
  'send',
  'report',
  'before',
  'friday',
  'and',
  'call',
  'customer',
  'about',
  'new',
  'order',
  'we',
  'should',
  'check',
  'numbers',
  'again',
  'thank',
  'you',
  'for',
  'waiting',
  'next',
  'week',
  'looks',
  'good',
  'today',
] as const

/** Marks the text that this twin's own speech carries, so that transcribing it gives the text back. */
const spokenMark = 'twin-text:'

/** A text in the form that spoken audio carries in its metadata. */
export const spokenTag = (text: string): string => `${spokenMark}${Buffer.from(text).toString('base64')};`

/** The text inside audio that this twin spoke; undefined for any other audio. */
export function spokenText(head: Buffer): string | undefined {
  const start = head.indexOf(spokenMark)
  if (start < 0) return undefined
  const end = head.indexOf(';', start)
  if (end < 0) return undefined
  return Buffer.from(head.subarray(start + spokenMark.length, end).toString('latin1'), 'base64').toString('utf8')
}

/** What the twin hears in other audio: sentences of ten words, about 2.5 words a second, by the audio's hash. */
export function heardText(hash: number, seconds: number): string {
  const draws = new Draws(hash)
  const count = Math.max(1, Math.min(5_000, Math.round(seconds * 2.5)))
  const sentences: string[] = []
  for (let done = 0; done < count; done += 10) {
    const sentence = Array.from({ length: Math.min(10, count - done) }, () => draws.pick(words)).join(' ')
    sentences.push(`${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}.`)
  }
  return sentences.join(' ')
}
