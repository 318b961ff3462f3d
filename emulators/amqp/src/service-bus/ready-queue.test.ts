import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { ReadyQueue } from './ready-queue.ts'

test('the lowest number comes first, whatever came back in between', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 200 }), fc.infiniteStream(fc.nat(1000)), (steps, draws) => {
      const queue = new ReadyQueue()
      const model: number[] = []
      const taken: number[] = []
      let next = 1
      for (const isPush of steps) {
        const back = (draws.next().value ?? 0) % 3 === 0 ? taken.pop() : undefined
        const number = back ?? next++
        if (isPush) {
          queue.push(number)
          model.push(number)
          model.sort((a, b) => a - b)
        } else {
          const expected = model.shift()
          expect(queue.take()).toBe(expected)
          if (expected !== undefined) taken.push(expected)
        }
        expect(queue.size).toBe(model.length)
        expect(queue.peek()).toBe(model[0])
      }
    }),
  )
})
