import { randomBytes } from 'node:crypto'
import type { CreateEndpoint, UpdateEndpoint } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import { type Condition, condition, type Cosmos } from '@sluice/storage'
import type { DisabledReason, EndpointRow } from './endpoint-row.ts'
import { isoTime } from './iso-time.ts'
import type { SealedSecret, SecretBox } from './secret-box.ts'

/** Every event of a tenant is compared with each of its endpoints. */
const maxEndpoints = 50

/** Webhook endpoints that tenants registered. */
export interface Endpoints {
  /**
   * @returns the endpoint and its secret, which nobody is shown again
   * @throws AppError `conflict` when the tenant has as many as it may, `not_configured` without a key for secrets
   */
  create(tenant: string, input: CreateEndpoint): Promise<{ row: EndpointRow; secret: string }>
  get(tenant: string, id: string): Promise<EndpointRow | undefined>
  list(tenant: string): Promise<EndpointRow[]>
  /** Enabling also forgets how long the endpoint has been failing. @returns undefined when there is none */
  update(tenant: string, id: string, input: UpdateEndpoint): Promise<EndpointRow | undefined>
  /**
   * A new secret. The one before signs as well for `overlapMs`.
   * @throws AppError `conflict` while an earlier rotation overlaps, unless `overlapMs` is 0; `not_found`
   */
  rotate(tenant: string, id: string, overlapMs: number): Promise<{ row: EndpointRow; secret: string }>
  /** @returns false when there was none */
  remove(tenant: string, id: string): Promise<boolean>
  /** The secrets that sign now, the newest first. */
  secretsOf(row: EndpointRow): string[]
  /** Notes that an attempt failed, or, with null, that one succeeded. @returns undefined when nothing changed */
  noteFailing(row: EndpointRow, since: string | null): Promise<EndpointRow | undefined>
  /**
   * Disables an enabled endpoint; as `failing` only while it still is so since `row.failing_since`.
   * @returns the row after it; undefined when somebody else changed it first
   */
  disable(row: EndpointRow, reason: DisabledReason, detail: string): Promise<EndpointRow | undefined>
  /** Disabled endpoints whose event may not be on the topic yet, of any tenant. */
  unannounced(limit: number): Promise<EndpointRow[]>
  markAnnounced(row: EndpointRow): Promise<void>
}

/** Opens the endpoints. Every method answers within its deadline or throws AppError `storage_unavailable`. */
export function createEndpoints(deps: { cosmos: Cosmos; box: SecretBox; clock: Clock }): Endpoints {
  const { box, clock } = deps
  const rows = deps.cosmos.rows<EndpointRow>('endpoints')
  const now = () => isoTime(clock.now())

  const newSecret = (tenant: string, id: string) => {
    const secret = `whsec_${randomBytes(32).toString('base64')}`
    return { secret, stored: { ...box.seal(secret, `${tenant}|${id}`), created_at: now() } }
  }
  const set = async (
    { tenant, id }: { tenant: string; id: string },
    fields: Partial<EndpointRow>,
    when?: Condition,
  ): Promise<EndpointRow | undefined> => {
    const outcome = await rows.patch({
      id,
      key: [tenant, id],
      ...(when === undefined ? {} : { when }),
      operations: Object.entries({ ...fields, updated_at: now() })
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => ({ op: 'set' as const, path: `/${name}`, value: value as unknown })),
    })
    return outcome.kind === 'patched' ? outcome.row : undefined
  }
  // A row serves many events before it is read again; its secrets are opened for the first.
  const opened = new WeakMap<SealedSecret, string>()
  const open = (sealed: SealedSecret, context: string): string => {
    const secret = opened.get(sealed) ?? box.open(sealed, context)
    opened.set(sealed, secret)
    return secret
  }
  const get = (tenant: string, id: string) => rows.read(id, [tenant, id])
  const list = (tenant: string) =>
    rows.query({ sql: 'SELECT * FROM c WHERE c.tenant = @tenant', parameters: { tenant }, limit: maxEndpoints + 1 })
  const valid = (row: EndpointRow) =>
    row.secrets.filter(({ expires_at }) => expires_at === undefined || expires_at > now())

  return {
    async create(tenant, input) {
      if ((await list(tenant)).length >= maxEndpoints) {
        throw new AppError('conflict', `A tenant has at most ${maxEndpoints} webhook endpoints.`)
      }
      const id = `whe_${randomBytes(12).toString('hex')}`
      const { secret, stored } = newSecret(tenant, id)
      const row: EndpointRow = {
        ...input,
        id,
        tenant,
        description: input.description ?? null,
        status: 'enabled',
        disabled: null,
        secrets: [stored],
        failing_since: null,
        disabled_count: 0,
        announced: true,
        created_at: now(),
        updated_at: now(),
      }
      await rows.create(row)
      return { row, secret }
    },
    get,
    list,
    async update(tenant, id, { status, ...input }) {
      const enable = { disabled: null, failing_since: null }
      const disable = { disabled: { reason: 'requested' as const, at: now(), detail: 'disabled by its owner' } }
      const state = status === undefined ? {} : { status, ...(status === 'enabled' ? enable : disable) }
      return set({ tenant, id }, { ...(input as Partial<EndpointRow>), ...state })
    },
    async rotate(tenant, id, overlapMs) {
      const row = await get(tenant, id)
      if (row === undefined) throw new AppError('not_found', 'No such webhook endpoint.', { param: 'id' })
      const signing = valid(row)
      if (overlapMs > 0 && signing.length > 1) {
        const until = signing[1]?.expires_at ?? ''
        throw new AppError('conflict', `The secret before this one signs until ${until}; overlap_seconds: 0 ends it.`)
      }
      const { secret, stored } = newSecret(tenant, id)
      const kept =
        overlapMs === 0 ? [] : signing.map((old) => ({ ...old, expires_at: isoTime(clock.now() + overlapMs) }))
      const unchanged = condition`c.secrets[0].sealed = ${row.secrets[0]?.sealed ?? ''}`
      const rotated = await set(row, { secrets: [stored, ...kept] }, unchanged)
      if (rotated === undefined) throw new AppError('conflict', 'Somebody else rotated the secret at the same time.')
      return { row: rotated, secret }
    },
    remove: (tenant, id) => rows.remove(id, [tenant, id]),
    secretsOf: (row) => valid(row).map((secret) => open(secret, `${row.tenant}|${row.id}`)),
    noteFailing: (row, since) =>
      set(
        row,
        { failing_since: since },
        since === null ? condition`c.failing_since != null` : condition`c.failing_since = null`,
      ),
    disable: (row, reason, detail) =>
      set(
        row,
        {
          status: 'disabled',
          disabled: { reason, at: now(), detail },
          disabled_count: row.disabled_count + 1,
          announced: false,
        },
        reason === 'failing'
          ? condition`c.status = 'enabled' AND c.failing_since = ${row.failing_since}`
          : condition`c.status = 'enabled'`,
      ),
    unannounced: (limit) => rows.query({ sql: 'SELECT * FROM c WHERE c.announced = false', limit }),
    markAnnounced: async (row) => {
      await set(row, { announced: true }, condition`c.disabled_count = ${row.disabled_count}`)
    },
  }
}
