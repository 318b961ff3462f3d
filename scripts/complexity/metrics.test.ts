import { describe, expect, it } from 'vitest'
import { calibrationError, curveOf, reportOf, type Scored } from './metrics.ts'

const item = (score: number, weak: number, strong: number, source = 'a'): Scored => ({
  source,
  score,
  weak,
  strong,
  weight: 1,
})
// Half of the prompts gain from the strong model.
const mixed = (scoreOf: (at: number) => number): Scored[] =>
  Array.from({ length: 400 }, (_, at) => item(scoreOf(at), at % 2, 1))

describe('curveOf', () => {
  it('is 0.5 for a constant score, whatever the order of the prompts', () => {
    expect(curveOf(mixed(() => 3))).toMatchObject({
      apgr: expect.closeTo(0.5) as number,
      cpt50: expect.closeTo(0.5) as number,
    })
  })

  it('is 0.75 for perfect knowledge when half of the prompts gain, and 0.25 for the opposite', () => {
    expect(curveOf(mixed((at) => 1 - (at % 2))).apgr).toBeCloseTo(0.75)
    expect(curveOf(mixed((at) => at % 2)).apgr).toBeCloseTo(0.25)
  })

  it('reads off the share of strong calls for a part of the gap', () => {
    const { cpt50, cpt80 } = curveOf(mixed((at) => 1 - (at % 2)))
    expect(cpt50).toBeCloseTo(0.25)
    expect(cpt80).toBeCloseTo(0.4)
  })

  it('counts prompts that the strong model gets wrong against it', () => {
    const harmful = [item(2, 1, 0), item(1, 0, 1), item(0, 0, 1)]
    expect(curveOf(harmful).apgr).toBeLessThan(0)
  })
})

describe('reportOf', () => {
  it('means over sources of 200 prompts or more, and pools all of them with equal weight', () => {
    const perfect = mixed((at) => 1 - (at % 2))
    const constant = mixed(() => 0.5).map((one) => ({ ...one, source: 'b' }))
    const few = [item(0, 0, 1, 'c'), item(1, 1, 1, 'c')]
    const { macro, sources } = reportOf([...perfect, ...constant, ...few])
    expect(Object.keys(sources)).toEqual(['a', 'b', 'c'])
    expect(macro.apgr).toBeCloseTo((0.75 + 0.5) / 2)
    const doubled = [...perfect, ...constant, ...constant]
    expect(reportOf(doubled).pooled.apgr).toBeCloseTo(reportOf([...perfect, ...constant]).pooled.apgr)
  })
})

describe('calibrationError', () => {
  it('is nothing for honest probabilities and the distance for others', () => {
    const observed = Array.from({ length: 1000 }, (_, at) => Number(at % 4 === 0))
    expect(calibrationError(observed.map((one) => ({ predicted: 0.25, observed: one })))).toBeCloseTo(0)
    expect(calibrationError(observed.map((one) => ({ predicted: 0.45, observed: one })))).toBeCloseTo(0.2)
  })
})
