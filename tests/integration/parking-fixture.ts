import type { PlatformConfig } from '@sluice/contracts'
import { createParking, type ParkedRow, type Parking } from '@sluice/parking'
import { systemClock } from '@sluice/resilience'
import { createMetrics, type Metrics } from '@sluice/telemetry'
import type { PrivateRedis } from './private-redis.ts'

const lane = (weight: number, max_parked = 100_000) => ({
  weight,
  max_parked,
  tenants: '*' as const,
  share: 0.2,
  sessions: false,
})
export const lanes = { interactive: lane(8), standard: lane(4), bulk: lane(1) }

/** An index in a Redis of its own, with a time that the test moves. */
export class ParkingFixture {
  readonly redis: PrivateRedis
  readonly metrics: Metrics = createMetrics('test')
  nowMs = Date.UTC(2026, 0, 1)
  #rows = 0

  constructor(redis: PrivateRedis) {
    this.redis = redis
  }

  /** One worker's view of the index. */
  open(tenants: Record<string, { weight?: number; max_share?: number }> = {}, tokensPerMinute = 60_000): Parking {
    const config = {
      lanes,
      tenants: Object.fromEntries(
        Object.entries(tenants).map(([name, { weight = 1, max_share = 1 }]) => [name, { weight, max_share }]),
      ),
      deployments: [{ name: 'a', quota: { tokens_per_minute: tokensPerMinute, requests_per_minute: 1 } }],
    } as unknown as PlatformConfig
    return createParking({
      redis: this.redis.client,
      config,
      clock: systemClock,
      metrics: this.metrics,
      deadlineMs: 10_000,
      time: () => this.nowMs,
    })
  }

  row(over: Partial<ParkedRow> = {}): ParkedRow {
    const id = `req_${++this.#rows}`
    // Each comes a millisecond after the one before, and so is due after it.
    return { tenant: 't', id, lane: 'standard', class: 'a', tokens: 100, acceptedMs: ++this.nowMs, ...over }
  }

  async park(parking: Parking, count: number, over: Partial<ParkedRow> = {}): Promise<ParkedRow[]> {
    const rows = Array.from({ length: count }, () => this.row(over))
    for (const row of rows) await parking.park(row)
    return rows
  }

  /** Takes the next `count` rows, as if there were room for each. */
  async serve(parking: Parking, count: number, open = Object.keys(lanes)): Promise<ParkedRow[]> {
    const served: ParkedRow[] = []
    while (served.length < count) {
      const next = await parking.next(open)
      if (next.kind === 'none') break
      await parking.taken(next.row)
      served.push(next.row)
    }
    return served
  }

  /** Keys that still speak of rows; none when nothing waits. */
  async leftovers(): Promise<string[]> {
    const lasting = /:(?:pass|weights|caps|heard|window|blocked|since|last|epoch|server|turns|paused|purge|use:\d+)$/
    const keys = await this.redis.client.keys('{sluice:parking}:*')
    return keys.filter((key) => !lasting.test(key))
  }
}
