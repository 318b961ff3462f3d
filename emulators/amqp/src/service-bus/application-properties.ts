import { encodeDescribed, encodeMap, encodeString } from '../amqp/encode.ts'
import { findSections } from '../amqp/message-sections.ts'
import { pack, unpack, type PackedBytes } from '../amqp/packed-bytes.ts'
import { mapEntries } from '../amqp/read-value.ts'
import { skipValue } from '../amqp/skip-value.ts'

/** New values by property name, each an encoded AMQP value; undefined removes the property. */
export type PropertyChanges = Map<string, Buffer | undefined>

const section = 0x74
const descriptorBytes = 3

/** The bare message with application properties set, replaced or removed; everything else keeps its encoding. */
export const changeApplicationProperties = (packed: PackedBytes, changes: PropertyChanges): PackedBytes => {
  if (changes.size === 0) return packed
  const bare = unpack(packed)
  const { applicationProperties, properties } = findSections(bare)
  const items: Buffer[] = []
  if (applicationProperties >= 0) {
    for (const { key, keyAt, value, end } of mapEntries(bare, applicationProperties)) {
      if (!changes.has(key)) items.push(bare.subarray(keyAt, value), bare.subarray(value, end))
    }
  }
  for (const [key, value] of changes) if (value !== undefined) items.push(encodeString(key), value)
  const afterProperties = properties < 0 ? 0 : skipValue(bare, properties)
  const from = applicationProperties < 0 ? afterProperties : skipValue(bare, applicationProperties)
  const head = bare.subarray(0, applicationProperties < 0 ? afterProperties : sectionStart(bare, applicationProperties))
  return pack(Buffer.concat([head, encodeDescribed(section, encodeMap(items)), bare.subarray(from)]))
}

// The descriptor before a section's value is 0x00 and a ulong, which senders may encode in one byte, eight, or as a symbol.
const sectionStart = (bare: Buffer, valueAt: number): number => {
  if (bare[valueAt - descriptorBytes] === 0x00 && bare[valueAt - 2] === 0x53 && bare[valueAt - 1] === section)
    return valueAt - descriptorBytes
  for (let at = 0; at < valueAt;) {
    const value = skipValue(bare, at + 1)
    if (value === valueAt) return at
    at = skipValue(bare, value)
  }
  return valueAt
}
