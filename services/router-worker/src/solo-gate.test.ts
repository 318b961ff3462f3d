import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { SoloGate } from './solo-gate.ts'

const never = new AbortController().signal

test('a loner waits for those inside and holds back those who come later', async () => {
  const gate = new SoloGate()
  const order: string[] = []
  const leaveA = await gate.enter(false, never)
  const leaveB = await gate.enter(false, never)
  const alone = gate.enter(true, never).then((leave) => (order.push('alone'), leave))
  const later = gate.enter(false, never).then((leave) => (order.push('later'), leave))
  leaveA()
  leaveB()
  const leaveAlone = await alone
  expect(order).toEqual(['alone'])
  leaveAlone()
  ;(await later)()
  expect(order).toEqual(['alone', 'later'])
})

test('one that gives up waiting lets those behind it pass', async () => {
  const gate = new SoloGate()
  const leave = await gate.enter(false, never)
  const givesUp = new AbortController()
  const alone = gate.enter(true, givesUp.signal)
  const behind = gate.enter(false, never)
  givesUp.abort(new Error('enough'))
  await expect(alone).rejects.toThrow('enough')
  ;(await behind)()
  leave()
})

test('whatever the order, a loner is alone and everybody gets in', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 30 }), async (visitors) => {
      const gate = new SoloGate()
      let inside = 0
      let aloneInside = false
      await Promise.all(
        visitors.map(async (alone) => {
          const leave = await gate.enter(alone, never)
          expect(aloneInside).toBe(false)
          if (alone) expect(inside).toBe(0)
          inside++
          aloneInside = alone
          await Promise.resolve()
          inside--
          aloneInside = false
          leave()
          leave()
        }),
      )
      expect(inside).toBe(0)
    }),
  )
})
