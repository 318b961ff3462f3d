import type { Quota, TenantShare } from './admission-types.ts'
import { lessonsKey } from './quota-script.ts'

/** A call that asks for room, as the script is asked. */
export interface Ask {
  id: string
  candidates: readonly Quota[]
  shares: readonly TenantShare[]
  tokens: number
  paced: boolean
  /** For how many calls that are about to come; the tokens are theirs altogether. */
  calls?: number | undefined
}

/** A call that has ended, as the script is told. */
export interface End {
  id: string
  quota: Quota
  shares: readonly TenantShare[]
  outcome: string
  atMs: number
  tokens: number
  /** -1: unknown. */
  actual: number
  ms: number
  /** -1: unknown. */
  latency: number
  measure: string
  coolMs: number
}

/** Several calls for one run of the script. */
export interface Batch<T> {
  calls: readonly T[]
  /** Those that any of the calls names, each once. */
  quotas: readonly Quota[]
  deployments: readonly string[]
  shares: readonly string[]
  more: readonly string[]
  operands: readonly (string | number)[]
}

// A script holds Redis up while it runs: others get their turn in between.
const callsPerScript = 64

/** What calls have in common is named once; a name with other limits than before begins a new batch. */
class Named<T extends { name: string }> {
  readonly all: T[] = []
  readonly #index = new Map<string, number>()
  readonly #same: (a: T, b: T) => boolean

  constructor(same: (a: T, b: T) => boolean) {
    this.#same = same
  }

  takes(some: readonly T[]): boolean {
    return some.every((one) => {
      const known = this.all[(this.#index.get(one.name) ?? 0) - 1]
      return known === undefined || this.#same(known, one)
    })
  }

  /** Counted from 1, as Lua does. */
  indexOf(one: T): number {
    let index = this.#index.get(one.name)
    if (index === undefined) this.#index.set(one.name, (index = this.all.push(one)))
    return index
  }
}

export const isSameQuota = (a: Quota, b: Quota): boolean =>
  a === b ||
  (a.name === b.name &&
    a.tokensPerMinute === b.tokensPerMinute &&
    a.requestsPerMinute === b.requestsPerMinute &&
    a.maxConcurrency === b.maxConcurrency &&
    a.kind === b.kind)

export const isSameShare = (a: TenantShare, b: TenantShare): boolean =>
  a === b ||
  (a.name === b.name &&
    a.requestsPerMinute === b.requestsPerMinute &&
    a.tokensPerMinute === b.tokensPerMinute &&
    a.concurrency === b.concurrency)

const namedQuotas = () => new Named<Quota>(isSameQuota)
const namedShares = () => new Named<TenantShare>(isSameShare)

/** @param encode adds up the operands, and keys beyond those of deployments and shares */
function batchesOf<T>(
  calls: readonly T[],
  namedBy: (call: T) => { quotas: readonly Quota[]; shares: readonly TenantShare[] },
  encode: (calls: readonly T[], quotas: Named<Quota>, shares: Named<TenantShare>) => Operands,
  moreKeys: (deployment: string) => readonly string[],
): Batch<T>[] {
  const batches: Batch<T>[] = []
  let [quotas, shares, some] = [namedQuotas(), namedShares(), [] as T[]]
  const close = () => {
    if (some.length === 0) return
    const deployments = quotas.all.map(nameOf)
    batches.push({
      calls: some,
      quotas: quotas.all,
      deployments,
      shares: shares.all.map(nameOf),
      more: deployments.flatMap(moreKeys),
      operands: encode(some, quotas, shares),
    })
    quotas = namedQuotas()
    shares = namedShares()
    some = []
  }
  for (const call of calls) {
    const named = namedBy(call)
    if (some.length >= callsPerScript || !quotas.takes(named.quotas) || !shares.takes(named.shares)) close()
    for (const one of named.quotas) quotas.indexOf(one)
    for (const one of named.shares) shares.indexOf(one)
    some.push(call)
  }
  close()
  return batches
}

type Operands = (string | number)[]

const nameOf = ({ name }: { name: string }): string => name

/** For reserve.lua. */
export const askBatches = <T extends Ask>(asks: readonly T[]): Batch<T>[] =>
  batchesOf(
    asks,
    ({ candidates, shares }) => ({ quotas: candidates, shares }),
    askOperands,
    () => [],
  )

function askOperands(calls: readonly Ask[], quotas: Named<Quota>, shares: Named<TenantShare>): Operands {
  const operands: Operands = []
  for (const { tokensPerMinute, requestsPerMinute, maxConcurrency = 0 } of quotas.all)
    operands.push(tokensPerMinute, requestsPerMinute, maxConcurrency)
  operands.push(shares.all.length)
  for (const { requestsPerMinute = 0, tokensPerMinute = 0, concurrency = 0 } of shares.all)
    operands.push(requestsPerMinute, tokensPerMinute, concurrency)
  const routes = new Map<string, { index: number; list: readonly number[] }>()
  const asked: Operands = []
  for (const call of calls) {
    const list = [call.candidates.length, ...call.candidates.map((one) => quotas.indexOf(one))]
    list.push(call.shares.length, ...call.shares.map((one) => shares.indexOf(one)))
    const key = list.join()
    let route = routes.get(key)
    if (route === undefined) routes.set(key, (route = { index: routes.size + 1, list }))
    const kind = call.calls === undefined ? (call.paced ? 1 : 0) : -call.calls
    asked.push(call.id, call.tokens, kind, route.index)
  }
  operands.push(routes.size)
  for (const { list } of routes.values()) operands.push(...list)
  operands.push(...asked)
  return operands
}

/** For `finish` in operations.lua. */
export const endBatches = <T extends End>(ends: readonly T[]): Batch<T>[] =>
  batchesOf(
    ends,
    ({ quota, shares }) => ({ quotas: [quota], shares }),
    endOperands,
    (name) => [lessonsKey(name)],
  )

function endOperands(calls: readonly End[], quotas: Named<Quota>, shares: Named<TenantShare>): Operands {
  const operands: Operands = []
  for (const { maxConcurrency = 0, kind, tokensPerMinute } of quotas.all)
    operands.push(maxConcurrency, kind === 'ptu' ? 1 : 0, tokensPerMinute)
  for (const { id, quota, outcome, atMs, tokens, actual, ms, latency, measure, coolMs, shares: own } of calls) {
    operands.push(quotas.indexOf(quota), id, outcome, atMs, tokens, actual, Math.ceil(ms))
    operands.push(latency < 0 ? -1 : latency.toFixed(4), measure, Math.ceil(coolMs), own.length)
    for (const one of own) operands.push(shares.indexOf(one))
  }
  return operands
}
