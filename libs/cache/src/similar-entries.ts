import type { Clock } from '@sluice/resilience'
import type { RowStore } from '@sluice/storage'
import type { CacheRow } from './cached-answer.ts'
import { cosine, unpackVector } from './unit-vector.ts'

/** What is kept in memory of an entry: answers may be large, and are read when they are given. */
type VectorRow = Omit<CacheRow, 'answer'>

interface Entry {
  id: string
  vector: Float32Array
  /** Epoch ms. */
  expiresAt: number
}

interface Group {
  entries: Map<string, Entry>
  /** `created_at` of the newest row seen. */
  newest: string
  /** Monotonic ms; rows that other workers wrote are looked for again from then on. */
  freshUntil: number
  loading: Promise<void> | undefined
}

// Entries of a group differ in the wording of one message only, so few of them are worth keeping apart.
const entriesPerGroup = 200
const groupsKept = 200
const freshMs = 10_000

/**
 * The nearest stored prompt, by a scan over one group's vectors in memory: a group is one tenant's entries with the same
 * parameters, bounded at a few hundred, so that an index would cost more than it saves.
 */
export class SimilarEntries {
  readonly #rows: RowStore<CacheRow>
  readonly #clock: Clock
  /** In order of use, the least recently used first. */
  readonly #groups = new Map<string, Group>()

  constructor(rows: RowStore<CacheRow>, clock: Clock) {
    this.#rows = rows
    this.#clock = clock
  }

  /** @returns the id of the most similar entry of the tenant's group at or above the threshold */
  async nearest(
    tenant: string,
    group: string,
    vector: Float32Array,
    threshold: number,
    signal?: AbortSignal,
  ): Promise<{ id: string; similarity: number } | undefined> {
    const found = await this.#load(tenant, group, signal)
    let best: { id: string; similarity: number } | undefined
    for (const { id, vector: other, expiresAt } of found.entries.values()) {
      if (expiresAt <= this.#clock.now()) {
        found.entries.delete(id)
        continue
      }
      const similarity = cosine(vector, other)
      if (similarity >= threshold && similarity > (best?.similarity ?? 0)) best = { id, similarity }
    }
    return best
  }

  /** Makes an entry that this worker wrote known here at once. */
  add(row: VectorRow): void {
    const group = this.#groups.get(keyOf(row.tenant, row.group ?? ''))
    if (group !== undefined) this.#keep(group, row)
  }

  async #load(tenant: string, name: string, signal: AbortSignal | undefined): Promise<Group> {
    const key = keyOf(tenant, name)
    const group = this.#groups.get(key) ?? {
      entries: new Map<string, Entry>(),
      newest: '',
      freshUntil: -Infinity,
      loading: undefined,
    }
    this.#groups.delete(key)
    this.#groups.set(key, group)
    for (const oldest of this.#groups.keys()) {
      if (this.#groups.size <= groupsKept) break
      this.#groups.delete(oldest)
    }
    if (this.#clock.monotonic() < group.freshUntil) return group
    group.loading ??= this.#refresh(tenant, name, group, signal).finally(() => {
      group.loading = undefined
    })
    await group.loading
    return group
  }

  async #refresh(tenant: string, name: string, group: Group, signal: AbortSignal | undefined): Promise<void> {
    const rows = await this.#rows.query<VectorRow>(
      {
        sql: 'SELECT c.id, c.tenant, c["group"], c.vector, c.created_at, c.ttl FROM c WHERE c.tenant = @tenant AND c["group"] = @group AND c.created_at >= @since ORDER BY c.created_at DESC',
        parameters: { tenant, group: name, since: group.newest },
        limit: entriesPerGroup,
      },
      signal,
    )
    for (const row of rows.toReversed()) this.#keep(group, row)
    group.freshUntil = this.#clock.monotonic() + freshMs
  }

  #keep(group: Group, row: VectorRow): void {
    if (row.vector === undefined || group.entries.has(row.id)) return
    const expiresAt = Date.parse(row.created_at) + row.ttl * 1000
    group.entries.set(row.id, {
      id: row.id,
      vector: unpackVector(row.vector),
      expiresAt,
    })
    if (row.created_at > group.newest) group.newest = row.created_at
    for (const oldest of group.entries.keys()) {
      if (group.entries.size <= entriesPerGroup) break
      group.entries.delete(oldest)
    }
  }
}

const keyOf = (tenant: string, group: string) => `${tenant}|${group}`
