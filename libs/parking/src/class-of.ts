import { createHash } from 'node:crypto'
import type { Deployment } from '@sluice/contracts'

const longest = 100

/** The class of requests that any of these deployments may take: they wait for the same room. */
export function classOf(candidates: readonly Pick<Deployment, 'name'>[]): string {
  const names = candidates.map(({ name }) => name.replaceAll(/[^\w.-]/g, '_')).sort()
  const text = names.join('+')
  return text.length <= longest ? text : createHash('sha256').update(text).digest('hex').slice(0, 32)
}
