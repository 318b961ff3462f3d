import { readFileSync } from 'node:fs'
import type { RequestBody, TierName } from '@sluice/contracts'
import { scoreComplexity } from '@sluice/routing'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { demoLines } from '../../stack/src/demo-lines.ts'

const { routing } = parse(readFileSync(new URL('../../config/sluice.yaml', import.meta.url), 'utf8')) as {
  routing: { thresholds: { medium: number; large: number } }
}

function tierOf(body: RequestBody): TierName {
  const { score } = scoreComplexity(body, '/v1/chat/completions')
  return score >= routing.thresholds.large ? 'large' : score >= routing.thresholds.medium ? 'medium' : 'small'
}

describe("the demo's prompts under the shipped thresholds", () => {
  it('give every tier work: the easy third small, the hard third large, most of the rest medium', () => {
    const tiers = demoLines('test', []).map((line) => tierOf(line.body as RequestBody))
    const count = (tier: TierName, from: number) => tiers.slice(from, from + 8).filter((one) => one === tier).length
    expect(count('small', 0)).toBe(8)
    expect(count('medium', 8)).toBeGreaterThanOrEqual(6)
    expect(count('large', 16)).toBeGreaterThanOrEqual(7)
  })
})
