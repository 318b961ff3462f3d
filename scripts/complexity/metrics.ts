/** A prompt's outcome: quality in 0..1 of the weak and the strong model's answer, and the score that was given. */
export interface Scored {
  source: string
  score: number
  weak: number
  strong: number
  weight: number
}

export interface Curve {
  apgr: number
  cpt50: number
  cpt80: number
}

/**
 * Quality against the share of prompts that go to the strong model, hardest first (RouteLLM, arXiv 2406.18665): APGR is
 * the area between the weak model's quality and the curve, in units of the gap; CPTx the share of strong calls that
 * recovers x % of the gap, read off ten equal steps. Prompts of one score count as taken in random order.
 */
export function curveOf(items: readonly Scored[]): Curve {
  const sorted = items.toSorted((a, b) => b.score - a.score)
  const total = sum(sorted, (item) => item.weight)
  const weak = sum(sorted, (item) => item.weight * item.weak) / total
  const strong = sum(sorted, (item) => item.weight * item.strong) / total
  const points: [share: number, quality: number][] = [[0, weak]]
  let share = 0
  let quality = weak
  let area = 0
  for (let at = 0; at < sorted.length;) {
    const { score } = sorted[at] as Scored
    const [fromShare, fromQuality] = [share, quality]
    for (; sorted[at]?.score === score; at++) {
      const item = sorted[at] as Scored
      share += item.weight / total
      quality += (item.weight * (item.strong - item.weak)) / total
    }
    area += ((share - fromShare) * (quality + fromQuality)) / 2
    points.push([share, quality])
  }
  const gap = strong - weak
  const steps = Array.from({ length: 11 }, (_, step) => valueAt(points, step / 10))
  const callsFor = (wanted: number): number => {
    const step = steps.findIndex((reached) => reached >= wanted)
    if (step <= 0) return step === 0 ? 0 : 1
    const [before, after] = [steps[step - 1] as number, steps[step] as number]
    return (step - 1 + (wanted - before) / (after - before)) / 10
  }
  return { apgr: (area - weak) / gap, cpt50: callsFor(weak + 0.5 * gap), cpt80: callsFor(weak + 0.8 * gap) }
}

function valueAt(points: readonly (readonly [number, number])[], share: number): number {
  let low = 0
  let high = points.length - 1
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if ((points[middle]?.[0] ?? 0) <= share) low = middle
    else high = middle
  }
  const [x0, y0] = points[low] as readonly [number, number]
  const [x1, y1] = points[high] as readonly [number, number]
  return x1 === x0 ? y1 : y0 + (y1 - y0) * Math.min(1, Math.max(0, (share - x0) / (x1 - x0)))
}

export interface Report {
  sources: Record<string, Curve & { rows: number }>
  /** Mean over the sources with at least 200 rows. */
  macro: Curve
  /** One threshold for everything, every source weighing the same. */
  pooled: Curve
}

export function reportOf(items: readonly Scored[]): Report {
  const bySource = Map.groupBy(items, (item) => item.source)
  const sources: Report['sources'] = {}
  for (const [source, own] of [...bySource].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    sources[source] = { rows: own.length, ...curveOf(own) }
  }
  const large = Object.values(sources).filter(({ rows }) => rows >= 200)
  const mean = (of: (curve: Curve) => number): number => sum(large, of) / large.length
  const balanced = items.map((item) => ({ ...item, weight: 1 / (bySource.get(item.source)?.length ?? 1) }))
  return {
    sources,
    macro: { apgr: mean((c) => c.apgr), cpt50: mean((c) => c.cpt50), cpt80: mean((c) => c.cpt80) },
    pooled: curveOf(balanced),
  }
}

/** Expected calibration error over ten equally filled bins: how far predicted and observed shares are apart. */
export function calibrationError(pairs: readonly { predicted: number; observed: number }[]): number {
  const sorted = pairs.toSorted((a, b) => a.predicted - b.predicted)
  let error = 0
  for (let bin = 0; bin < 10; bin++) {
    const own = sorted.slice(Math.floor((bin * sorted.length) / 10), Math.floor(((bin + 1) * sorted.length) / 10))
    error += Math.abs(sum(own, (pair) => pair.predicted - pair.observed))
  }
  return error / sorted.length
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  let total = 0
  for (const item of items) total += of(item)
  return total
}
