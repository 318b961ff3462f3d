import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import card from '../generated/complexity-card.json' with { type: 'json' }
import weights from '../generated/complexity-weights.json' with { type: 'json' }
import { packModel, unpackModel } from './packed-model.ts'
import { trainedModel } from './trained-model.ts'

describe('the committed weights', () => {
  it('reach the targets on subjects that training did not see', () => {
    expect(card.unseen_subjects.macro.apgr).toBeGreaterThanOrEqual(0.6)
    expect(card.unseen_subjects.pooled.apgr).toBeGreaterThanOrEqual(0.59)
    expect(card.unseen_subjects.ece).toBeLessThan(0.08)
  })

  it('are the ones that the card measured, and small', () => {
    const { size } = statSync(fileURLToPath(new URL('../generated/complexity-weights.json', import.meta.url)))
    expect(size).toBe(card.weights_bytes)
    expect(size).toBeLessThanOrEqual(400_000)
  })

  it('name where they come from', () => {
    for (const word of ['RouteLLM', '0b64fda', 'Apache-2.0', 'MMLU (MIT)', 'GSM8K (MIT)']) {
      expect(weights.notice).toContain(word)
      expect(card.notice).toContain(word)
    }
  })

  it('survive being packed', () => {
    expect(packModel(trainedModel, weights.notice)).toEqual(weights)
  })

  it.each([
    ['other features', { ...weights, features: weights.features.slice(1) }],
    [
      'another number of buckets',
      {
        ...weights,
        heads: {
          ...weights.heads,
          gains: { ...weights.heads.gains, linear: { ...weights.heads.gains.linear, ngrams: 'AAAA' } },
        },
      },
    ],
  ])('are refused with %s', (_name, stale) => {
    expect(() => unpackModel(stale)).toThrow('npm run train:complexity')
  })
})
