import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { packModel } from '../../libs/routing/src/complexity/packed-model.ts'
import { calibrated, crossValidate, foldsBySubject, trainHeads } from './cross-validation.ts'
import { curveOf } from './metrics.ts'
import { readOutcomes } from './outcomes.ts'

// Prompts whose difficulty shows: the weak model fails on those with many numbers.
const rows = Array.from({ length: 600 }, (_, at) => {
  const hard = at % 3 === 0
  const numbers = Array.from({ length: hard ? 12 : 2 }, (_, n) => `${at + n * 17} apples`).join(' and ')
  const content = `Question ${at % 7}: somebody has ${numbers}. What follows from it?`
  return {
    source: 'exam',
    subset: `subject ${at % 12}`,
    messages: [{ role: 'user', content }],
    weak_ok: Number(!hard),
    strong_ok: 1,
  }
})
const outcomes = readOutcomes(gzipSync(rows.map((row) => JSON.stringify(row)).join('\n')))

describe('training', () => {
  it('learns what makes prompts hard, on subjects that it did not see', () => {
    const { predictions } = crossValidate(outcomes, foldsBySubject(outcomes, 3, 1, []))
    const { apgr } = curveOf(predictions.map(({ outcome, score }) => ({ ...outcome, score, weight: 1 })))
    // A third of the prompts gains: nothing is better than 5/6.
    expect(apgr).toBeGreaterThan(0.8)
  })

  it('gives the same bytes for the same data', () => {
    const train = () => {
      const { raw } = crossValidate(outcomes, foldsBySubject(outcomes, 2, 1, []))
      return JSON.stringify(packModel(calibrated(trainHeads(outcomes), outcomes, raw), ''))
    }
    expect(train()).toBe(train())
  })
})

describe('foldsBySubject', () => {
  it('never parts a subject, and fills the folds alike', () => {
    const folds = foldsBySubject(outcomes, 4, 7, [])
    const foldOf = new Map<string, number>()
    for (const [at, { subject }] of outcomes.entries()) {
      expect(foldOf.get(subject) ?? folds[at]).toBe(folds[at])
      foldOf.set(subject, folds[at] ?? -1)
    }
    for (let fold = 0; fold < 4; fold++) expect(folds.filter((one) => one === fold)).toHaveLength(150)
  })

  it('deals a source out row by row when asked to', () => {
    const folds = foldsBySubject(outcomes, 4, 7, ['exam'])
    expect([...folds.slice(0, 6)]).toEqual([0, 1, 2, 3, 0, 1])
  })
})
