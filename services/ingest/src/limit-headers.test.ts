import { expect, it } from 'vitest'
import { duration } from './limit-headers.ts'

it.each([
  [-5, '0ms'],
  [0, '0ms'],
  [5.2, '6ms'],
  [999.5, '1s'],
  [1_000, '1s'],
  [1_500, '1.5s'],
  [60_000, '1m0s'],
  [60_980, '1m0.98s'],
  [360_000, '6m0s'],
])('%d ms is written as %s', (ms, text) => expect(duration(ms)).toBe(text))
