import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { pickByHeadroom } from './pick-region.ts'

test('chooses only what has room, in proportion to it', () => {
  const room = new Map([
    ['full', 5],
    ['small', 100],
    ['large', 300],
  ])
  const of = (name: string) => room.get(name) ?? 0
  const chosen = Array.from({ length: 400 }, (_, n) => pickByHeadroom([...room.keys()], of, 10, () => n / 400))
  expect(chosen.filter((name) => name === 'full')).toHaveLength(0)
  expect(chosen.filter((name) => name === 'small')).toHaveLength(100)
  expect(chosen.filter((name) => name === 'large')).toHaveLength(300)
})

test('answers nothing exactly when nothing has room', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(100)), fc.nat(100), fc.double({ min: 0, max: 1, noNaN: true }), (rooms, tokens, at) => {
      const picked = pickByHeadroom(
        rooms,
        (room) => room,
        tokens,
        () => at,
      )
      expect(picked !== undefined).toBe(rooms.some((room) => room >= tokens))
      if (picked !== undefined) expect(picked).toBeGreaterThanOrEqual(tokens)
    }),
  )
})
