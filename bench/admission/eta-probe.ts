import { percentile } from './figures.ts'
import { type LaneName, laneNames, type Offer, tenantNames } from './offered-load.ts'
import type { TwoWorkers } from './two-workers.ts'

interface Told {
  id: string
  lane: LaneName
  atMs: number
  range: readonly [number, number]
  /** Requests were still arriving, and nobody could know for how long. */
  underLoad: boolean
}

const perSample = 24

/** Asks the HTTP door, as a tenant would, when waiting requests will run, and compares that with when they did. */
export async function etaProbe(stack: TwoWorkers) {
  const url = stack.env.INGEST_URL ?? ''
  const keys = new Map<string, string>()
  for (const tenant of tenantNames) {
    const answer = await fetch(`${url}/v1/keys`, {
      method: 'POST',
      headers: { authorization: `Bearer ${stack.env.SLUICE_API_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ tenant, scopes: ['read'] }),
      signal: AbortSignal.timeout(10_000),
    })
    if (!answer.ok) throw new Error(`no key for ${tenant}: ${answer.status} ${await answer.text()}`)
    keys.set(tenant, ((await answer.json()) as { key: string }).key)
  }
  const told: Told[] = []

  return {
    /** Asks about some of the requests that wait, evenly over them. */
    async sample(waiting: readonly Offer[], idOf: (offer: Offer) => string, underLoad: boolean): Promise<void> {
      const step = Math.max(1, Math.floor(waiting.length / perSample))
      for (let at = 0; at < waiting.length; at += step) {
        const offer = waiting[at]
        if (offer === undefined) continue
        const atMs = Date.now()
        const answer = await fetch(`${url}/v1/requests/${idOf(offer)}`, {
          headers: { authorization: `Bearer ${keys.get(offer.tenant)}` },
          signal: AbortSignal.timeout(10_000),
        })
        if (!answer.ok) continue
        const { place } = (await answer.json()) as { place?: { eta_ms: [number, number] | null } | null }
        if (place?.eta_ms) told.push({ id: idOf(offer), lane: offer.lane, atMs, range: place.eta_ms, underLoad })
      }
    },
    /** @param served when each request ran, epoch ms */
    figures(served: ReadonlyMap<string, number>) {
      const compared = told.flatMap(({ id, lane, atMs, range, underLoad }) => {
        const at = served.get(id)
        // Who is asked about just before its turn has no wait that an error could be a part of.
        return at === undefined || at - atMs < 1_000 ? [] : [{ lane, actual: at - atMs, range, underLoad }]
      })
      const ratios = (lane: LaneName, end: 0 | 1) =>
        round(
          percentile(
            compared.filter((one) => one.lane === lane).map(({ actual, range }) => range[end] / actual),
            0.5,
          ),
        )
      const errorOf = ({ actual, range: [low, high] }: (typeof compared)[number]) =>
        Math.abs((low + high) / 2 - actual) / actual
      const within = compared.filter(({ actual, range: [low, high] }) => actual >= low && actual <= high)
      return {
        /** Of the middle of the range. */
        eta_error_p50: round(percentile(compared.map(errorOf), 0.5)),
        /** The same, of those told while requests were still arriving. */
        eta_error_under_load_p50: round(percentile(compared.filter(({ underLoad }) => underLoad).map(errorOf), 0.5)),
        eta_within_range: compared.length === 0 ? null : round(within.length / compared.length),
        eta_samples: compared.length,
        /** What was told ÷ what came, for both ends of the range. */
        eta_told_p50: Object.fromEntries(laneNames.map((lane) => [lane, [ratios(lane, 0), ratios(lane, 1)]])),
      }
    },
  }
}

const round = (value: number | null): number | null => (value === null ? null : Math.round(value * 1000) / 1000)
