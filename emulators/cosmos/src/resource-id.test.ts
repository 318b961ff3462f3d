import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { containerRid, databaseRid, etagOf, itemRids } from './resource-id.ts'

const bytes = (rid: string): number => Buffer.from(rid.replaceAll('-', '/'), 'base64').length

test('rids are 4, 8 and 16 bytes in base64, without slashes', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(), fc.maxSafeNat(), (database, container, sequence) => {
      const rids = [databaseRid(database), containerRid(database, container), itemRids(database, container)(sequence)]
      expect(rids.map(bytes)).toEqual([4, 8, 16])
      expect(rids.join('')).not.toContain('/')
    }),
  )
})

test('rids of items compare as text like their sequence numbers', () => {
  const rid = itemRids(1, 2)
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (a, b) => {
      expect(rid(a) < rid(b)).toBe(a < b)
    }),
  )
})

test('etags of different log sequence numbers differ', () => {
  expect(etagOf(1, 0x61000000)).toBe('"00000001-0000-0700-0000-610000000000"')
  expect(etagOf(2 ** 32 + 1, 0x61000000)).not.toBe(etagOf(1, 0x61000000))
})
