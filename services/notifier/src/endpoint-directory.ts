import { matchesEventType } from '@sluice/contracts'
import type { EndpointRow, Endpoints } from '@sluice/ledger'
import type { Clock } from '@sluice/resilience'

/** The tenants' endpoints as this notifier knows them, at most `staleMs` old. */
export interface EndpointDirectory {
  /** The tenant's endpoints that take that type of event, disabled ones included. */
  matching(tenant: string, type: string): Promise<EndpointRow[]>
  find(tenant: string, id: string): Promise<EndpointRow | undefined>
  /** Replaces what is known of one endpoint by what was just written. */
  note(row: EndpointRow): void
}

interface Known {
  rows: Promise<EndpointRow[]>
  /** Monotonic; undefined while the rows are being read. */
  until: number | undefined
}

const maxTenants = 10_000

/**
 * Reads a tenant's endpoints once for everybody who asks meanwhile, and believes them for `staleMs`: so long does a
 * change take to be seen. A failed read is not remembered.
 */
export function createEndpointDirectory(deps: {
  endpoints: Pick<Endpoints, 'list'>
  clock: Clock
  staleMs: number
}): EndpointDirectory {
  const { endpoints, clock, staleMs } = deps
  const tenants = new Map<string, Known>()

  const load = (tenant: string): Promise<EndpointRow[]> => {
    const known: Known = { rows: endpoints.list(tenant), until: undefined }
    tenants.delete(tenant)
    tenants.set(tenant, known)
    if (tenants.size > maxTenants) tenants.delete(tenants.keys().next().value ?? '')
    // The age counts from when the read began: what is written after that may be missing in it.
    const until = clock.monotonic() + staleMs
    known.rows.then(
      () => (known.until = until),
      () => tenants.get(tenant) === known && tenants.delete(tenant),
    )
    return known.rows
  }
  const all = (tenant: string): Promise<EndpointRow[]> => {
    const known = tenants.get(tenant)
    const fresh = known !== undefined && (known.until === undefined || known.until > clock.monotonic())
    return fresh ? known.rows : load(tenant)
  }

  return {
    matching: async (tenant, type) => (await all(tenant)).filter((row) => matchesEventType(row.event_types, type)),
    find: async (tenant, id) => (await all(tenant)).find((row) => row.id === id),
    note(row) {
      const known = tenants.get(row.tenant)
      if (known === undefined) return
      known.rows = known.rows.then((rows) => rows.map((one) => (one.id === row.id ? row : one)))
    },
  }
}
