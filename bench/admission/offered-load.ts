import { estimateTokens } from '@sluice/admission'
import type { RequestBody } from '@sluice/contracts'

/** Each lane's offered load, in multiples of the whole quota. */
export const laneLoad = { interactive: 0.5, standard: 1, bulk: 1.5 } as const
export type LaneName = keyof typeof laneLoad
export const laneNames = Object.keys(laneLoad) as LaneName[]

/** What each tenant offers; their weights are equal. */
const tenantLoad = { alder: 8, birch: 4, cedar: 2, dogwood: 1, elm: 1 } as const
export const tenantNames = Object.keys(tenantLoad)

export interface Offer {
  key: string
  atMs: number
  lane: LaneName
  tenant: string
  body: RequestBody
  /** As the provider estimates it. */
  tokens: number
}

/** A seeded generator of numbers from 0 to 1: every run, and the baseline, meets the same load. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

function bodyOf(random: () => number, key: string): RequestBody {
  const words = 20 + Math.floor(random() * 80)
  const answer = 40 + Math.floor(random() * 120)
  const prompt = `[tokens=${answer}] ${key} ${'lorem '.repeat(words)}`
  return { model: 'small', messages: [{ role: 'user', content: prompt }], max_tokens: answer + 40 }
}

/** Arrivals at random moments, oldest first, that offer 3× `tokensPerMinute` for `seconds`. */
export function offeredLoad(tokensPerMinute: number, seconds: number): Offer[] {
  const random = seeded(20_261_121)
  const total = Object.values(tenantLoad).reduce((sum, load) => sum + load, 0)
  const offers: Offer[] = []
  for (const lane of laneNames) {
    for (const [tenant, load] of Object.entries(tenantLoad)) {
      const wanted = (tokensPerMinute / 60) * seconds * laneLoad[lane] * (load / total)
      for (let offered = 0, serial = 0; offered < wanted; serial++) {
        const key = `${lane}-${tenant}-${serial}`
        const body = bodyOf(random, key)
        const tokens = estimateTokens(body, '/v1/chat/completions')
        offers.push({ key, atMs: random() * seconds * 1000, lane, tenant, body, tokens })
        offered += tokens
      }
    }
  }
  return offers.toSorted((a, b) => a.atMs - b.atMs)
}
