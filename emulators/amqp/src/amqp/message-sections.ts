import { AmqpDecodeError } from './decode-error.ts'
import { readValue } from './read-value.ts'
import { checkValue, skipValue } from './skip-value.ts'

/** Where the sections of an encoded message lie: offsets of each section's value, -1 when absent. */
export type Sections = {
  header: number
  messageAnnotations: number
  properties: number
  applicationProperties: number
  /** Value offset of every body section; all have the code in `bodyCode` (0x75 data, 0x76 sequence, 0x77 value). */
  body: number[]
  bodyCode: number
  /** Start of the bare message: properties, application properties, body and footer, descriptors included. */
  bareStart: number
}

const codeOf = (bytes: Buffer, at: number): number => {
  const code = bytes[at]
  if (code === 0x53 && at + 1 < bytes.length) return bytes[at + 1] ?? 0
  if (code === 0x80 && at + 9 <= bytes.length) return Number(bytes.readBigUInt64BE(at + 1) & 0xffffffffn)
  const symbol = readValue(bytes, at)
  return typeof symbol === 'string' ? (symbolicCodes[symbol] ?? 0) : 0
}

const symbolicCodes: Record<string, number> = {
  'amqp:header:list': 0x70,
  'amqp:delivery-annotations:map': 0x71,
  'amqp:message-annotations:map': 0x72,
  'amqp:properties:list': 0x73,
  'amqp:application-properties:map': 0x74,
  'amqp:data:binary': 0x75,
  'amqp:amqp-sequence:list': 0x76,
  'amqp:amqp-value:*': 0x77,
  'amqp:footer:map': 0x78,
}

/**
 * Finds the sections of an encoded message. Sections come in the order of their codes (AMQP 1.0 part 3, 3.2).
 * @throws AmqpDecodeError when the bytes are not a sequence of message sections in that order
 */
export const findSections = (bytes: Buffer): Sections => {
  const sections: Sections = {
    header: -1,
    messageAnnotations: -1,
    properties: -1,
    applicationProperties: -1,
    body: [],
    bodyCode: 0,
    bareStart: -1,
  }
  let last = 0
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] !== 0x00) throw new AmqpDecodeError('expected a message section')
    const code = codeOf(bytes, at + 1)
    const value = skipValue(bytes, at + 1)
    const repeatable = code === 0x75 || code === 0x76
    if (code < last || (code === last && !repeatable)) throw new AmqpDecodeError('message sections out of order')
    if (code < 0x70 || code > 0x78) throw new AmqpDecodeError('unknown message section')
    last = code
    if (code >= 0x73 && sections.bareStart < 0) sections.bareStart = at
    note(sections, code, value)
    at = skipValue(bytes, value)
  }
  if (sections.bareStart < 0) sections.bareStart = bytes.length
  return sections
}

/**
 * Checks all sections but data down to their last value, because receivers decode them and trip over what is malformed.
 * @throws AmqpDecodeError
 */
export const checkSections = (bytes: Buffer, sections: Sections): void => {
  for (const at of [sections.header, sections.properties]) if (at >= 0) checkKind(bytes, at, listCodes)
  for (const at of [sections.messageAnnotations, sections.applicationProperties])
    if (at >= 0) checkKind(bytes, at, mapCodes)
  if (sections.bodyCode !== dataSection) for (const at of sections.body) checkValue(bytes, at)
}

const dataSection = 0x75
const listCodes = [0x45, 0xc0, 0xd0]
const mapCodes = [0xc1, 0xd1]

const checkKind = (bytes: Buffer, at: number, codes: number[]): void => {
  if (!codes.includes(bytes[at] ?? 0)) throw new AmqpDecodeError('message section of the wrong type')
  checkValue(bytes, at)
}

const note = (sections: Sections, code: number, value: number): void => {
  if (code === 0x70) sections.header = value
  else if (code === 0x72) sections.messageAnnotations = value
  else if (code === 0x73) sections.properties = value
  else if (code === 0x74) sections.applicationProperties = value
  else if (code >= 0x75 && code <= 0x77) {
    if (sections.bodyCode !== 0 && sections.bodyCode !== code)
      throw new AmqpDecodeError('message with two kinds of body')
    sections.bodyCode = code
    sections.body.push(value)
  }
}
