import { encodeDescribed, encodeList, encodeNull, encodeScalar, encodeSymbol } from '../amqp/encode.ts'
import { findSections } from '../amqp/message-sections.ts'
import { borrow, pack, unpack, type PackedBytes } from '../amqp/packed-bytes.ts'
import { idText, mapEntries, readValue, type AmqpValue } from '../amqp/read-value.ts'
import { compoundHead, skipValue } from '../amqp/skip-value.ts'
import type { RuleMessage } from '../rules/index.ts'
import { changeApplicationProperties, type PropertyChanges } from './application-properties.ts'
import type { MessageDraft } from './message-draft.ts'

type Field = keyof RuleMessage['properties']

// Positions in the properties section (AMQP 1.0 part 3, 3.2.4).
const fieldAt: Record<number, Field> = {
  0: 'messageId',
  2: 'to',
  3: 'subject',
  4: 'replyTo',
  5: 'correlationId',
  6: 'contentType',
  10: 'sessionId',
  12: 'replyToSessionId',
}
const contentType = 6
const propertiesSection = 0x73

/** What rules see of a message. */
export const ruleView = (draft: MessageDraft, sequenceNumber: number, enqueuedAtMs: number): RuleMessage => {
  const bare = borrow(draft.bare)
  const sections = findSections(bare)
  const view: RuleMessage = {
    properties: {},
    // Without a prototype a property called __proto__ is one like any other.
    applicationProperties: Object.create(null) as Record<string, unknown>,
    system: { sequenceNumber, enqueuedTime: new Date(enqueuedAtMs) },
  }
  for (const [index, at] of fieldOffsets(bare, sections.properties).entries()) {
    const field = fieldAt[index]
    const value = field === undefined ? null : readValue(bare, at)
    if (field !== undefined && value !== null) setField(view.properties, field, value)
  }
  if (sections.applicationProperties >= 0) {
    for (const { key, value } of mapEntries(bare, sections.applicationProperties))
      view.applicationProperties[key] = readValue(bare, value)
  }
  return view
}

const setField = (properties: RuleMessage['properties'], field: Field, value: AmqpValue): void => {
  if (field === 'messageId' || field === 'correlationId')
    properties[field] = typeof value === 'number' || typeof value === 'bigint' ? value : idText(value)
  else if (typeof value === 'string') properties[field] = value
}

const fieldOffsets = (bare: Buffer, properties: number): number[] => {
  if (properties < 0) return []
  const { count, first } = compoundHead(bare, properties)
  const offsets: number[] = []
  for (let index = 0, at = first; index < count; index++, at = skipValue(bare, at)) offsets.push(at)
  return offsets
}

/** A copy of the view that an action may change. */
export const copyView = (view: RuleMessage): RuleMessage => ({
  properties: { ...view.properties },
  applicationProperties: Object.assign(Object.create(null) as Record<string, unknown>, view.applicationProperties),
  system: view.system,
})

/** The draft with what an action changed. Only changed values are encoded anew; the others keep their types. */
export const applyView = (draft: MessageDraft, before: RuleMessage, after: RuleMessage): MessageDraft => {
  const changes: PropertyChanges = new Map()
  for (const key of new Set([
    ...Object.keys(before.applicationProperties),
    ...Object.keys(after.applicationProperties),
  ])) {
    if (!(key in after.applicationProperties)) changes.set(key, undefined)
    else if (after.applicationProperties[key] !== before.applicationProperties[key])
      changes.set(key, encodeScalar(after.applicationProperties[key]))
  }
  let bare = changeApplicationProperties(draft.bare, changes)
  const fields = Object.values(fieldAt).filter((field) => before.properties[field] !== after.properties[field])
  if (fields.length > 0) bare = changeFields(bare, fields, after)
  return {
    ...draft,
    bare,
    sessionId: after.properties.sessionId,
    messageId: String(after.properties.messageId ?? draft.messageId),
  }
}

const changeFields = (packed: PackedBytes, changed: Field[], after: RuleMessage): PackedBytes => {
  const bare = unpack(packed)
  const { properties } = findSections(bare)
  const offsets = fieldOffsets(bare, properties)
  const end = properties < 0 ? 0 : skipValue(bare, properties)
  const items: Buffer[] = []
  for (let index = 0; index < 13; index++) {
    const field = fieldAt[index]
    const at = offsets[index]
    if (field !== undefined && changed.includes(field)) items.push(encodeField(index, after.properties[field]))
    else items.push(at === undefined ? encodeNull : bare.subarray(at, skipValue(bare, at)))
  }
  return pack(Buffer.concat([encodeDescribed(propertiesSection, encodeList(items)), bare.subarray(end)]))
}

const encodeField = (index: number, value: unknown): Buffer =>
  index === contentType && typeof value === 'string' ? encodeSymbol(value) : encodeScalar(value)
