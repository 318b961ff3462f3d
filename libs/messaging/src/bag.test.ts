import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Bag } from './bag.ts'

test('a bag holds what a set would, whatever comes and goes', () => {
  const steps = fc.array(fc.record({ add: fc.boolean(), index: fc.nat(9) }), { maxLength: 100 })
  fc.assert(
    fc.property(steps, (steps) => {
      const members = Array.from({ length: 10 }, (_, name) => ({ name, place: -1 }))
      const bag = new Bag<(typeof members)[number]>()
      const model = new Set<(typeof members)[number]>()
      for (const { add, index } of steps) {
        const member = members[index]
        if (member === undefined) continue
        if (!add) expect(bag.delete(member)).toBe(model.delete(member))
        else if (!model.has(member)) {
          bag.add(member)
          model.add(member)
        }
        expect(new Set(bag.members)).toEqual(model)
        expect(bag.members).toHaveLength(model.size)
      }
    }),
  )
})
