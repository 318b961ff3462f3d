import { createHash } from 'node:crypto'
import type { Deployment } from '@sluice/contracts'

const longest = 100

/**
 * The class of requests that any of these deployments may take: they wait for the same room.
 * @param key whose own limits they wait for as well: at these they stand in nobody else's way
 */
export function classOf(candidates: readonly Pick<Deployment, 'name'>[], key?: string): string {
  const names = candidates.map(({ name }) => name.replaceAll(/[^\w.-]/g, '_')).sort()
  const text = names.join('+')
  const room = text.length <= longest ? text : createHash('sha256').update(text).digest('hex').slice(0, 32)
  return key === undefined ? room : `${room}#${key.replaceAll(/[^\w.-]/g, '_')}`
}

/** The class without the key: what wants room on the same deployments has it in common. */
export function roomOf(className: string): string {
  const end = className.indexOf('#')
  return end < 0 ? className : className.slice(0, end)
}

/** Whether a class is that of one key's requests. */
export const isOfKey = (className: string): boolean => className.includes('#')
