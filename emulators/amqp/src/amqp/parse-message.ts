import { randomUUID } from 'node:crypto'
import { AmqpDecodeError } from './decode-error.ts'
import { checkSections, findSections } from './message-sections.ts'
import { idText, mapEntries, readValue } from './read-value.ts'
import { pack, type PackedBytes } from './packed-bytes.ts'
import { compoundHead, skipValue } from './skip-value.ts'

/**
 * A message as its sender encoded it, with only those fields decoded that the broker acts on. `annotations` are the
 * sender's message annotations (key and value bytes, alternating) without those that only the broker may set; `bare` is
 * the bare message. Both stay in the sender's encoding, because decoding and encoding again would change types.
 */
export type ParsedMessage = {
  durable: boolean
  priority: number
  ttlMs: number | undefined
  annotations: Buffer
  annotationCount: number
  bare: PackedBytes
  messageId: string
  sessionId: string | undefined
  partitionKey: string | undefined
  scheduledAtMs: number | undefined
}

const brokerAnnotations = new Set([
  'x-opt-sequence-number',
  'x-opt-enqueue-sequence-number',
  'x-opt-enqueued-time',
  'x-opt-locked-until',
  'x-opt-message-state',
  'x-opt-deadletter-source',
  'x-opt-offset',
])

const empty = Buffer.alloc(0)
const emptyBare = pack(empty)
const fieldOf = { messageId: 0, groupId: 10 } as const

/**
 * Reads an encoded message of format 0.
 * @throws AmqpDecodeError when it is not one
 */
export const parseMessage = (bytes: Buffer): ParsedMessage => {
  const sections = findSections(bytes)
  checkSections(bytes, sections)
  const parsed: ParsedMessage = {
    durable: false,
    priority: 4,
    ttlMs: undefined,
    annotations: empty,
    annotationCount: 0,
    bare: emptyBare,
    messageId: '',
    sessionId: undefined,
    partitionKey: undefined,
    scheduledAtMs: undefined,
  }
  if (sections.header >= 0) readHeader(bytes, sections.header, parsed)
  if (sections.messageAnnotations >= 0) readAnnotations(bytes, sections.messageAnnotations, parsed)
  parsed.bare = readProperties(bytes, sections.properties, sections.bareStart, parsed)
  return parsed
}

const readHeader = (bytes: Buffer, at: number, parsed: ParsedMessage): void => {
  const { count, first } = compoundHead(bytes, at)
  for (let index = 0, position = first; index < count && index < 3; index++) {
    const value = readValue(bytes, position)
    if (index === 0 && value === true) parsed.durable = true
    if (index === 1 && typeof value === 'number') parsed.priority = value & 0xff
    if (index === 2 && typeof value === 'number' && value > 0) parsed.ttlMs = value
    position = skipValue(bytes, position)
  }
}

const readAnnotations = (bytes: Buffer, at: number, parsed: ParsedMessage): void => {
  const kept: Buffer[] = []
  for (const { key, keyAt, value, end } of mapEntries(bytes, at)) {
    if (brokerAnnotations.has(key)) continue
    kept.push(bytes.subarray(keyAt, end))
    if (key === 'x-opt-partition-key') {
      const partitionKey = readValue(bytes, value)
      if (typeof partitionKey === 'string') parsed.partitionKey = partitionKey
    } else if (key === 'x-opt-scheduled-enqueue-time') {
      const due = readValue(bytes, value)
      if (due instanceof Date) parsed.scheduledAtMs = due.getTime()
    }
  }
  if (kept.length === 0) return
  parsed.annotations = Buffer.concat(kept)
  parsed.annotationCount = kept.length
}

// The service assigns a message id when the sender gave none; the bare message is otherwise kept untouched.
const readProperties = (bytes: Buffer, at: number, bareStart: number, parsed: ParsedMessage): PackedBytes => {
  if (at < 0) {
    parsed.messageId = newMessageId()
    return packWithMessageId(parsed.messageId, 1, bytes, bareStart)
  }
  const { count, first, end } = compoundHead(bytes, at)
  let position = first
  let messageIdEnd = first
  let hasMessageId = false
  for (let index = 0; index < count && index <= fieldOf.groupId; index++) {
    const next = skipValue(bytes, position)
    if (index === fieldOf.messageId) {
      hasMessageId = bytes[position] !== 0x40
      if (hasMessageId) parsed.messageId = idText(readValue(bytes, position))
      messageIdEnd = next
    } else if (index === fieldOf.groupId && bytes[position] !== 0x40) {
      const sessionId = readValue(bytes, position)
      if (typeof sessionId !== 'string') throw new AmqpDecodeError('group-id is not a string')
      parsed.sessionId = sessionId
    }
    position = next
  }
  if (hasMessageId) return pack(bytes, bareStart)
  parsed.messageId = newMessageId()
  return packWithMessageId(parsed.messageId, Math.max(count, 1), bytes, messageIdEnd, end)
}

const newMessageId = (): string => randomUUID().replaceAll('-', '')

const propertiesHeadBytes = 14

// A properties section of `count` fields, of which the first is the new message id and the others, up to `fieldsEnd`, are
// copied as they are, and whatever follows them. One buffer, because most senders leave the message id to the service.
const packWithMessageId = (
  messageId: string,
  count: number,
  bytes: Buffer,
  from: number,
  fieldsEnd = from,
): PackedBytes => {
  const out = Buffer.allocUnsafe(propertiesHeadBytes + messageId.length + bytes.length - from)
  out[0] = 0x00
  out[1] = 0x53
  out[2] = 0x73
  out[3] = 0xd0
  out.writeUInt32BE(4 + 2 + messageId.length + fieldsEnd - from, 4)
  out.writeUInt32BE(count, 8)
  out[12] = 0xa1
  out[13] = messageId.length
  out.write(messageId, propertiesHeadBytes, 'latin1')
  bytes.copy(out, propertiesHeadBytes + messageId.length, from)
  return pack(out)
}

/**
 * The messages inside a transfer of format 0x80013700: each data section of the envelope is one encoded message.
 * @returns the encoded messages and the envelope's own annotations
 * @throws AmqpDecodeError when a section is not binary
 */
export const splitBatch = (envelope: Buffer): { messages: Buffer[]; partitionKey: string | undefined } => {
  const sections = findSections(envelope)
  if (sections.bodyCode !== 0x75) throw new AmqpDecodeError('a batch carries data sections only')
  const messages = sections.body.map((at) => binarySlice(envelope, at))
  let partitionKey: string | undefined
  if (sections.messageAnnotations >= 0) {
    for (const { key, value } of mapEntries(envelope, sections.messageAnnotations)) {
      const decoded = key === 'x-opt-partition-key' ? readValue(envelope, value) : undefined
      if (typeof decoded === 'string') partitionKey = decoded
    }
  }
  return { messages, partitionKey }
}

const binarySlice = (bytes: Buffer, at: number): Buffer => {
  const end = skipValue(bytes, at)
  if (bytes[at] === 0xa0) return bytes.subarray(at + 2, end)
  if (bytes[at] === 0xb0) return bytes.subarray(at + 5, end)
  throw new AmqpDecodeError('expected binary')
}
