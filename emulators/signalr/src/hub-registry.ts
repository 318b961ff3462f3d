import type { ClientConnection } from './client-connection.ts'
import { createHub } from './hub.ts'
import type { Hub } from './hub.ts'

const hubName = /^[A-Za-z][A-Za-z0-9_`,.[\]]{0,127}$/

/** The name rule of the service's API description, for hubs and applications. */
export const isHubName = (name: string): boolean => hubName.test(name)

/** Hub names ignore case; an application prefixes its hubs, as Microsoft's own emulator and SDK do it. */
export const hubKey = (hub: string, application?: string | null): string =>
  (application ? `${application}_${hub}` : hub).toLowerCase()

export type HubRegistry = ReturnType<typeof createHubRegistry>

/** All hubs. A hub exists from its first connection or membership until its last: there is nothing to create. */
export function createHubRegistry(now: () => number) {
  const hubs = new Map<string, Hub>()

  return {
    find: (key: string): Hub | undefined => hubs.get(key),
    open(key: string): Hub {
      const known = hubs.get(key)
      if (known) return known
      const hub = createHub(now)
      hubs.set(key, hub)
      return hub
    },
    releaseIfEmpty(key: string): void {
      if (hubs.get(key)?.isEmpty()) hubs.delete(key)
    },
    entries: (): [string, Hub][] => [...hubs],
    connections: (): ClientConnection[] => [...hubs.values()].flatMap((hub) => hub.connections()),
  }
}
