import { type TierName, tierNames } from '@sluice/contracts'

/** A prompt's score, and the lowest tier whose answer to it is good enough. */
export interface LabelledScore {
  score: number
  needed: TierName
}

export interface Thresholds {
  medium: number
  large: number
}

/** What thresholds do to labelled prompts. */
export interface ThresholdEffect {
  /** Share of the prompts that reach the tier that they need, or a higher one. */
  served: number
  /** Mean price of a call, in units of a call to the large tier. */
  cost: number
  shares: Record<TierName, number>
}

interface Wish {
  /** Least share of the prompts to serve well. */
  quality: number
  /** Price of a call to each tier, in any unit. */
  prices: Record<TierName, number>
}

// With more cuts than this, two neighbouring thresholds differ by less than their own noise.
const maxCuts = 200

/**
 * The cheapest thresholds under which at least `quality` of the prompts are served well. There always are some: with
 * both thresholds at 0 everything goes to the large tier.
 * @throws RangeError without any labelled score
 */
export function proposeThresholds(labelled: readonly LabelledScore[], { quality, prices }: Wish): Thresholds {
  const sorted = labelled.toSorted((a, b) => a.score - b.score)
  if (sorted.length === 0) throw new RangeError('There is nothing to propose thresholds from.')
  const enough = tierNames.map((tier) => countsBelow(sorted, ({ needed }) => rank(needed) <= rank(tier)))
  const [small = [], medium = []] = enough
  const cuts = cutsOf(sorted)
  const total = sorted.length
  let best = { low: 0, high: 0, cost: prices.large * total, served: total }
  for (const high of cuts) {
    for (const low of cuts) {
      if (low > high) break
      const served = at(small, low) + at(medium, high) - at(medium, low) + total - high
      const cost = prices.small * low + prices.medium * (high - low) + prices.large * (total - high)
      if (served < quality * total) continue
      if (cost < best.cost || (cost === best.cost && served > best.served)) best = { low, high, cost, served }
    }
  }
  const scoreAt = (cut: number): number => (cut === 0 ? 0 : (sorted[cut]?.score ?? 1))
  return { medium: scoreAt(best.low), large: scoreAt(best.high) }
}

export function effectOf(
  { medium, large }: Thresholds,
  labelled: readonly LabelledScore[],
  prices: Wish['prices'],
): ThresholdEffect {
  const counts: Record<TierName, number> = { small: 0, medium: 0, large: 0 }
  let [served, cost] = [0, 0]
  for (const { score, needed } of labelled) {
    const tier = score >= large ? 'large' : score >= medium ? 'medium' : 'small'
    counts[tier]++
    cost += prices[tier] / prices.large
    if (rank(tier) >= rank(needed)) served++
  }
  const share = (count: number): number => count / labelled.length
  const shares = { small: share(counts.small), medium: share(counts.medium), large: share(counts.large) }
  return { served: share(served), cost: share(cost), shares }
}

const rank = (tier: TierName): number => tierNames.indexOf(tier)
const at = (counts: readonly number[], cut: number): number => counts[cut] ?? 0

/** How many of the first n rows, for every n, are as asked. */
function countsBelow(sorted: readonly LabelledScore[], asked: (row: LabelledScore) => boolean): number[] {
  const counts = [0]
  for (const [place, row] of sorted.entries()) counts.push((counts[place] ?? 0) + Number(asked(row)))
  return counts
}

/** Numbers of rows that a threshold can leave below itself: rows of one score stay together. */
function cutsOf(sorted: readonly LabelledScore[]): number[] {
  const distinct = sorted.flatMap((row, place) => (row.score === sorted[place - 1]?.score ? [] : [place]))
  const stride = Math.ceil(distinct.length / maxCuts)
  return [...distinct.filter((_, place) => place % stride === 0), sorted.length]
}
