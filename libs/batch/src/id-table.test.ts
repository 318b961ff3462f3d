import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { IdTable } from './id-table.ts'

test('tells the first line of an id, as a map would', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 3 }), { maxLength: 3000 }), (ids) => {
      const table = new IdTable()
      const model = new Map<string, number>()
      for (const [index, id] of ids.entries()) {
        expect(table.add(id, index + 1)).toBe(model.get(id))
        if (!model.has(id)) model.set(id, index + 1)
      }
    }),
    { numRuns: 30 },
  )
})

test('finds ids again after it grew many times', () => {
  const table = new IdTable()
  for (let n = 1; n <= 20_000; n++) expect(table.add(`order-${n}`, n)).toBeUndefined()
  for (const n of [1, 777, 20_000]) expect(table.add(`order-${n}`, 30_000)).toBe(n)
})
