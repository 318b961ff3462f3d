import * as fc from 'fast-check'
import { expect, it } from 'vitest'

import { compileLikePattern } from './like-pattern.ts'

const byRegExp = (pattern: string): RegExp =>
  new RegExp(`^${pattern.replaceAll(/[.*]/g, '\\$&').replaceAll('%', '[^]*').replaceAll('_', '[^]')}$`)

it('agrees with the equivalent regular expression', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '\n', '.', '*'), maxLength: 12 })
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '%', '_', '.', '*', '\n'), maxLength: 8 })
  fc.assert(
    fc.property(pattern, letters, (pattern, text) => {
      expect(compileLikePattern(pattern)?.(text)).toBe(byRegExp(pattern).test(text))
    }),
    { numRuns: 3000 },
  )
})

it('answers a pattern that makes a regular expression explode', () => {
  const matches = compileLikePattern(`${'%a'.repeat(400)}%b`)
  expect(matches?.('a'.repeat(5000))).toBe(false)
})

it('counts _ in UTF-16 code units, as .NET chars are', () => {
  expect(compileLikePattern('__')?.('💥')).toBe(true)
  expect(compileLikePattern('_')?.('💥')).toBe(false)
})

it('takes an escaped escape character and refuses one at the end', () => {
  expect(compileLikePattern('50!%!!', '!')?.('50%!')).toBe(true)
  expect(compileLikePattern('50!', '!')).toBeUndefined()
})
