import type { Deployment } from '@sluice/contracts'

// Provisioned capacity is paid for whether it is used or not, so it goes first; spot may be evicted in the middle.
const kindOrder: Readonly<Record<Deployment['kind'], number>> = { ptu: 0, standard: 1, 'model-router': 2, spot: 3 }

/** Deployments in the order to try: by kind, then by the caller's preferred regions, then as configured. */
export function inOrder(deployments: readonly Deployment[], prefer: readonly string[] = []): readonly Deployment[] {
  const place = (region: string): number => {
    const at = prefer.indexOf(region)
    return at < 0 ? prefer.length : at
  }
  return deployments.toSorted((a, b) => kindOrder[a.kind] - kindOrder[b.kind] || place(a.region) - place(b.region))
}
