import { laneNames, type Offer, tenantNames } from './offered-load.ts'
import type { TwinCall, TwinDeployment } from './twin-control.ts'

export interface Observed {
  offers: readonly Offer[]
  /** Epoch ms at which the first request was offered. */
  startedAt: number
  loadMs: number
  calls: readonly TwinCall[]
  deployments: readonly TwinDeployment[]
  /** Of an offer's key to the id that its calls carry. */
  idOf(offer: Offer): string
}

const windowMs = 60_000

export function percentile(values: readonly number[], share: number): number | null {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null
}

/** When each request's answered call arrived at the twin, by the id that it carries. */
export function servedAt({ calls }: Pick<Observed, 'calls'>): Map<string, number> {
  const served = new Map<string, number>()
  for (const { client_request_id: id, outcome, at } of calls) {
    if (id !== null && outcome === 'ok' && !served.has(id)) served.set(id, at)
  }
  return served
}

/** Milliseconds from the offer to the call that was answered; what was never served has waited until `untilMs`. */
export function waits(observed: Observed, of: (offer: Offer) => boolean, untilMs: number): number[] {
  const served = servedAt(observed)
  return observed.offers
    .filter(of)
    .map((offer) => (served.get(observed.idOf(offer)) ?? untilMs) - observed.startedAt - offer.atMs)
}

/** The moment, epoch ms, from which less than a twentieth of everything offered still waits. */
export function backlogEnd(observed: Observed): number {
  const served = servedAt(observed)
  const times = observed.offers.map((offer) => served.get(observed.idOf(offer)) ?? Infinity).toSorted((a, b) => a - b)
  const last = times[Math.floor(times.length * 0.95)] ?? observed.startedAt
  return Math.min(last, Math.max(...observed.calls.map(({ at }) => at), observed.startedAt))
}

/**
 * Used ÷ allowed in the twin's own windows that lie within the time in which demand exceeded the quota; without a whole
 * one, used against the part of a minute that the time is.
 */
export function quotaUse(observed: Observed): { share: number; windows: number } {
  const [from, to] = [observed.startedAt, backlogEnd(observed)]
  const whole = observed.deployments.flatMap(({ windows, settings }) =>
    windows
      .filter(({ startedAt }) => startedAt >= from && startedAt + windowMs <= to)
      .map(({ accepted }) => accepted / settings.tokens_per_minute),
  )
  if (whole.length > 0) return { share: mean(whole), windows: whole.length }
  const used = observed.calls.filter(({ outcome, at }) => outcome === 'ok' && at >= from && at < to)
  const allowed = observed.deployments.reduce((sum, { settings }) => sum + settings.tokens_per_minute, 0)
  const tokens = used.reduce((sum, call) => sum + call.estimated_tokens, 0)
  return { share: tokens / ((allowed * (to - from)) / windowMs), windows: 0 }
}

/**
 * The most by which calls, refused ones included, went beyond a deployment's tokens in any 60 seconds, wherever they
 * begin: stricter than the twin, which counts by the minute.
 */
export function overshootTokens({ calls, deployments }: Observed): number {
  let most = 0
  for (const { resource, settings } of deployments) {
    const own = calls.filter((call) => call.resource === resource && call.deployment === settings.name)
    let [sum, first] = [0, 0]
    for (const { at, estimated_tokens: tokens } of own) {
      sum += tokens
      for (let old = own[first]; old && old.at <= at - windowMs; old = own[++first]) sum -= old.estimated_tokens
      most = Math.max(most, sum - settings.tokens_per_minute)
    }
  }
  return most
}

export const rate429 = ({ calls }: Pick<Observed, 'calls'>): number =>
  calls.filter(({ status }) => status === 429).length / Math.max(1, calls.length)

/** Calls that were answered for a request that had an answer already. */
export function doubleCalls({ calls }: Pick<Observed, 'calls'>): number {
  const answered = calls.filter(({ outcome, client_request_id: id }) => outcome === 'ok' && id !== null)
  return answered.length - new Set(answered.map(({ client_request_id: id }) => id)).size
}

/** Tokens served while the load was on, by lane and tenant. */
function servedTokens(observed: Observed): Map<string, number> {
  const served = servedAt(observed)
  const until = observed.startedAt + observed.loadMs
  const tokens = new Map<string, number>()
  for (const offer of observed.offers) {
    if ((served.get(observed.idOf(offer)) ?? Infinity) > until) continue
    const key = `${offer.lane} ${offer.tenant}`
    tokens.set(key, (tokens.get(key) ?? 0) + offer.tokens)
  }
  return tokens
}

export function bulkShare(observed: Observed): number {
  const tokens = servedTokens(observed)
  const all = [...tokens.values()].reduce((sum, one) => sum + one, 0)
  const bulk = tenantNames.reduce((sum, tenant) => sum + (tokens.get(`bulk ${tenant}`) ?? 0), 0)
  return bulk / Math.max(1, all)
}

/** What each of several with equal weights is entitled to: nobody gets more than it asks for, the rest is shared. */
export function fairShares(capacity: number, demands: readonly number[]): number[] {
  const shares = demands.map(() => 0)
  let left = capacity
  const order = demands.map((demand, index) => ({ demand, index })).toSorted((a, b) => a.demand - b.demand)
  for (const [place, { demand, index }] of order.entries()) {
    const share = Math.min(demand, left / (order.length - place))
    shares[index] = share
    left -= share
  }
  return shares
}

export function jain(values: readonly number[]): number {
  const sum = values.reduce((all, value) => all + value, 0)
  const squares = values.reduce((all, value) => all + value * value, 0)
  return squares === 0 ? 0 : (sum * sum) / (values.length * squares)
}

/**
 * Jain's index over served ÷ entitled of every tenant in every lane that could not serve all it was offered. Lanes are
 * apart, because how much a lane gets is not between tenants.
 */
export function fairness(observed: Observed): number {
  const served = servedTokens(observed)
  const ratios = laneNames.flatMap((lane) => {
    const got = tenantNames.map((tenant) => served.get(`${lane} ${tenant}`) ?? 0)
    const asked = tenantNames.map((tenant) =>
      observed.offers
        .filter((offer) => offer.lane === lane && offer.tenant === tenant)
        .reduce((sum, { tokens }) => sum + tokens, 0),
    )
    const [given, wanted] = [got, asked].map((all) => all.reduce((sum, one) => sum + one, 0)) as [number, number]
    if (given >= 0.95 * wanted) return []
    return fairShares(given, asked).map((share, index) => (share === 0 ? 1 : (got[index] ?? 0) / share))
  })
  return ratios.length === 0 ? 1 : jain(ratios)
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
