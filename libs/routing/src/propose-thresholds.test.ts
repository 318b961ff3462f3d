import type { TierName } from '@sluice/contracts'
import { array, assert, constantFrom, double, integer, property, record } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { effectOf, type LabelledScore, proposeThresholds } from './propose-thresholds.ts'

const prices = { small: 1, medium: 5, large: 25 }
const rows = (...entries: [score: number, needed: TierName][]): LabelledScore[] =>
  entries.map(([score, needed]) => ({ score, needed }))

describe('proposeThresholds', () => {
  it('finds the borders of prompts that the score orders perfectly', () => {
    const labelled = rows([0.1, 'small'], [0.2, 'small'], [0.3, 'medium'], [0.4, 'medium'], [0.7, 'large'])
    expect(proposeThresholds(labelled, { quality: 1, prices })).toEqual({ medium: 0.3, large: 0.7 })
  })

  it('sends everything to the small tier when that is enough, and to the large one when nothing else is', () => {
    const easy = rows([0.2, 'small'], [0.9, 'small'])
    expect(effectOf(proposeThresholds(easy, { quality: 1, prices }), easy, prices).shares.small).toBe(1)
    const hard = rows([0.1, 'large'], [0.9, 'large'])
    expect(proposeThresholds(hard, { quality: 1, prices })).toEqual({ medium: 0, large: 0 })
  })

  it('gives up the dearest prompts first when not all have to be served well', () => {
    const labelled = rows([0.1, 'large'], [0.2, 'small'], [0.3, 'small'], [0.4, 'small'], [0.5, 'large'])
    expect(proposeThresholds(labelled, { quality: 0.8, prices })).toEqual({ medium: 0.5, large: 0.5 })
  })

  it('keeps prompts of one score together', () => {
    const labelled = rows([0.5, 'small'], [0.5, 'large'], [0.5, 'small'])
    expect(proposeThresholds(labelled, { quality: 1, prices })).toEqual({ medium: 0, large: 0 })
  })

  it('refuses to guess from nothing', () => {
    expect(() => proposeThresholds([], { quality: 1, prices })).toThrow(RangeError)
  })

  it('always serves as many as asked, for no more than always-large costs', () => {
    const labelled = array(
      record({
        score: integer({ min: 0, max: 999 }).map((score) => score / 1000),
        needed: constantFrom<TierName[]>('small', 'medium', 'large'),
      }),
      { minLength: 1, maxLength: 400 },
    )
    assert(
      property(labelled, double({ min: 0, max: 1, noNaN: true }), (rows, quality) => {
        const thresholds = proposeThresholds(rows, { quality, prices })
        const effect = effectOf(thresholds, rows, prices)
        expect(thresholds.medium).toBeLessThanOrEqual(thresholds.large)
        expect(effect.served).toBeGreaterThanOrEqual(quality - 1e-9)
        expect(effect.cost).toBeLessThanOrEqual(1 + 1e-9)
      }),
    )
  })
})
