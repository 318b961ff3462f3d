import type { Deployment, PlatformConfig } from '@sluice/contracts'

/** What moves from call to call: how full deployments are, where the conversation was, whose turn it is. */
export interface Balance {
  /** Share of a deployment in use, 0 to 1; 0 unless known. */
  utilisation?: ReadonlyMap<string, number> | undefined
  /** Regions that served the conversation before, the last one first: preferred, never required. */
  affinity?: readonly string[] | undefined
  /** Regions in the conversation's own order, for when none is known to have served it. */
  home?: readonly string[] | undefined
  /** Rises by one from call to call, for `round_robin`. */
  turn?: number | undefined
  /** 0 to 1, for `weighted`; Math.random unless given. */
  random?: (() => number) | undefined
}

// Provisioned capacity is paid for whether it is used or not, so it goes first; spot may be evicted in the middle.
const kindOrder: Readonly<Record<Deployment['kind'], number>> = { ptu: 0, standard: 1, 'model-router': 2, spot: 3 }

/**
 * Deployments of one tier in the order to try: by kind, then the conversation's last region, then the caller's preferred
 * ones, then the conversation's home, then balanced. The order among equals is the configured one.
 */
export function inOrder(
  deployments: readonly Deployment[],
  balancing: PlatformConfig['routing']['balancing'],
  prefer: readonly string[] = [],
  balance: Balance = {},
): readonly Deployment[] {
  if (deployments.length < 2) return deployments
  const { affinity = [], home = [] } = balance
  const groups = Map.groupBy(deployments, ({ kind, region }) =>
    [kindOrder[kind], placeIn(affinity, region), placeIn(prefer, region), placeIn(home, region)]
      .map((n) => String(n).padStart(3, '0'))
      .join(),
  )
  return [...groups]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, group]) => (group.length === 1 ? group : balanced(group, balancing, balance)))
}

function balanced(
  group: readonly Deployment[],
  balancing: PlatformConfig['routing']['balancing'],
  { utilisation, turn = 0, random = Math.random }: Balance,
): readonly Deployment[] {
  if (balancing === 'round_robin') {
    const first = turn % group.length
    return [...group.slice(first), ...group.slice(0, first)]
  }
  if (balancing === 'weighted') {
    // Exponential draws with the weights as rates: whose is smallest comes first, in proportion to its weight.
    const drawn = new Map(group.map((one) => [one, -Math.log(1 - random()) / one.weight]))
    return group.toSorted((a, b) => (drawn.get(a) ?? 0) - (drawn.get(b) ?? 0))
  }
  const used = ({ name }: Deployment): number => utilisation?.get(name) ?? 0
  return group.toSorted((a, b) => used(a) - used(b))
}

const placeIn = (regions: readonly string[], region: string): number => {
  const at = regions.indexOf(region)
  return at < 0 ? regions.length : at
}
