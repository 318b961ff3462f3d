import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { createSecretBox } from './secret-box.ts'

const key = () => randomBytes(32).toString('base64')

test('what was sealed opens again, in its own place only', () => {
  const box = createSecretBox([key()])
  const sealed = box.seal('whsec_abc', 'contoso|whe_1')
  expect(box.open(sealed, 'contoso|whe_1')).toBe('whsec_abc')
  expect(JSON.stringify(sealed)).not.toContain('whsec_abc')
  expect(() => box.open(sealed, 'fabrikam|whe_1')).toThrow(/does not open/)
})

test('a flipped bit, or a shortened text, does not open', () => {
  const box = createSecretBox([key()])
  const { key_id, sealed } = box.seal('whsec_abc', 'x')
  const bytes = Buffer.from(sealed, 'base64')
  bytes[14] = (bytes[14] ?? 0) ^ 1
  expect(() => box.open({ key_id, sealed: bytes.toString('base64') }, 'x')).toThrow(/does not open/)
  expect(() => box.open({ key_id, sealed: sealed.slice(0, 12) }, 'x')).toThrow(/does not open/)
})

test('a key is replaced by putting the new one in front', () => {
  const [old, fresh] = [key(), key()]
  const sealed = createSecretBox([old]).seal('whsec_abc', 'x')
  const both = createSecretBox([fresh, old])
  expect(both.open(sealed, 'x')).toBe('whsec_abc')
  expect(both.seal('whsec_abc', 'x').key_id).not.toBe(sealed.key_id)
  expect(() => createSecretBox([fresh]).open(sealed, 'x')).toThrow(/WEBHOOK_SECRETS_KEY/)
})

test('no key, or one of another length, is said', () => {
  expect(() => createSecretBox([]).seal('a', 'x')).toThrow(/WEBHOOK_SECRETS_KEY/)
  expect(() => createSecretBox([Buffer.from('short').toString('base64')])).toThrow(/32 bytes/)
})
