import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { DeadlineHeap } from './deadline-heap.ts'

test('entries come out by time, and by key where times are equal', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 20 }), fc.nat(1000))), (entries) => {
      const heap = new DeadlineHeap()
      for (const [time, key] of entries) heap.push(time, key)
      const out: number[] = []
      while (heap.size > 0) out.push(heap.pop() ?? -1)
      expect(out).toEqual(entries.toSorted((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, key]) => key))
    }),
  )
})
