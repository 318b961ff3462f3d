import { setTimeout as sleep } from 'node:timers/promises'
import { ServiceBusClient } from '@azure/service-bus'
import { createAdmission, quotaOf } from '@sluice/admission'
import { requestIdOf } from '@sluice/contracts'
import { systemClock } from '@sluice/resilience'
import { connectCosmos, connectRedis } from '@sluice/storage'
import { createLogger } from '@sluice/telemetry'
import type { BenchOptions } from '../main.ts'
import { etaProbe } from './eta-probe.ts'
import {
  backlogEnd,
  bulkShare,
  doubleCalls,
  fairness,
  type Observed,
  overshootTokens,
  percentile,
  quotaUse,
  rate429,
  servedAt,
  waits,
} from './figures.ts'
import { naivePool } from './naive-pool.ts'
import { laneNames, type Offer, offeredLoad } from './offered-load.ts'
import { type TwinControl, twinControl } from './twin-control.ts'
import { deploymentName, latency, quota, regions, startTwoWorkers, type TwoWorkers } from './two-workers.ts'

const quiet = createLogger({ service: 'bench', level: 'silent' })
// What a killed worker's slots, locks and leases take at most to come back.
const settleMs = 20_000

/**
 * Two router workers over three deployments that are offered three times their quota; one worker is killed half way.
 * Then the same load for a pool that retries on 429.
 */
export async function run({ durable, short, seconds = short ? 8 : 60 }: BenchOptions): Promise<object> {
  const stack = await startTwoWorkers(durable)
  const offers = offeredLoad(quota.tokens_per_minute * regions.length, seconds)
  const twin = twinControl(stack.env.OPENAI_TWIN_URL ?? '')
  try {
    await prepare(twin)
    const sluice = await offerToSluice(stack, twin, offers, seconds)
    await prepare(twin)
    const naive = await offerToPool(stack, twin, offers, seconds)
    return { ...sluice, naive, requests: offers.length, seconds, durable, node: process.version }
  } finally {
    await stack.stop()
  }
}

async function prepare(twin: TwinControl): Promise<void> {
  await twin.reset()
  for (const region of regions) await twin.setLatency(region, deploymentName, latency)
}

const idOf = ({ tenant, key }: Offer): string => requestIdOf(tenant, key)

async function offerToSluice(stack: TwoWorkers, twin: TwinControl, offers: Offer[], seconds: number): Promise<object> {
  const client = new ServiceBusClient(stack.env.SERVICE_BUS_CONNECTION_STRING ?? '')
  const redis = connectRedis(stack.env.REDIS_URL ?? '', { logger: quiet })
  const cosmos = connectCosmos({
    endpoint: stack.env.COSMOS_ENDPOINT ?? '',
    key: stack.env.COSMOS_KEY,
    database: 'sluice',
  })
  const done = new Map<string, { status: string; atMs: number }>()
  const results = client.createReceiver('results', 'bench', { receiveMode: 'receiveAndDelete' })
  results.subscribe(
    {
      processMessage: async ({ body }) => {
        const { data } = body as { data: { id: string; sluice: { status: string } } }
        // An event may come twice; the first one is when the request was over.
        if (!done.has(data.id)) done.set(data.id, { status: data.sluice.status, atMs: Date.now() })
      },
      processError: async ({ error }) => console.error('results', error.message),
    },
    { maxConcurrentCalls: 50 },
  )
  try {
    const probe = await etaProbe(stack)
    const loadMs = seconds * 1000
    const startedAt = Date.now()
    const killing = (async () => {
      await sleep(loadMs / 2)
      const pid = stack.victim.pid
      stack.victim.kill()
      const atMs = Date.now()
      // A claim that it sent with its last breath may be written only now; what it held stays its own for a lease.
      await sleep(2_000)
      const held = await cosmos.rows<{ id: string }>('requests').query({
        sql: "SELECT c.id FROM c WHERE c.status IN ('running', 'cancel_requested') AND STARTSWITH(c.owner, @owner)",
        parameters: { owner: `router-worker-${pid}.` },
        limit: 1_000,
      })
      return { atMs, held: new Set(held.map(({ id }) => id)) }
    })()
    // As tenants do: now and again for as long as anything waits.
    const over = new AbortController()
    const asking = (async () => {
      for (let atMs = loadMs / 4; ; atMs += loadMs / 4) {
        await sleep(startedAt + atMs - Date.now(), undefined, { signal: over.signal }).catch(() => undefined)
        if (over.signal.aborted) return
        const waiting = offers.filter((offer) => offer.atMs < atMs - 3_000 && !done.has(idOf(offer)))
        await probe.sample(waiting, idOf, atMs < loadMs)
      }
    })()
    await send(client, offers, startedAt)
    const { atMs: killedAt, held } = await killing
    const giveUpAt = Date.now() + 4 * loadMs + 60_000
    while (done.size < offers.length && Date.now() < giveUpAt) await sleep(250)
    over.abort()
    await asking
    const calls = await twin.calls()
    const observed: Observed = { offers, startedAt, loadMs, calls, deployments: await twin.deployments(), idOf }
    const served = servedAt(observed)
    // Whether the model had answered before does not matter: nobody had the answer.
    const killedWaits = [...held].map((id) => (done.get(id)?.atMs ?? Date.now()) - killedAt)
    const use = quotaUse(observed)
    return {
      rate_429: round(rate429(observed)),
      quota_use: round(use.share),
      quota_windows: use.windows,
      interactive_wait_p99_ms: round(
        percentile(
          waits(observed, (offer) => offer.lane === 'interactive' && !held.has(idOf(offer)), Date.now()),
          0.99,
        ),
      ),
      killed_wait_max_ms: killedWaits.length === 0 ? null : Math.max(0, ...killedWaits),
      killed_held: held.size,
      bulk_share: round(bulkShare(observed)),
      fairness_jain: round(fairness(observed)),
      overshoot_tokens: overshootTokens(observed),
      leaked_slots: await leakedSlots(stack, redis.client),
      lost: offers.filter((offer) => !done.has(idOf(offer))).length,
      failed: [...done.values()].filter(({ status }) => status !== 'succeeded').length,
      double_calls: doubleCalls(observed),
      ...probe.figures(served),
      wait_p50_ms: Object.fromEntries(
        laneNames.map((lane) => [
          lane,
          round(
            percentile(
              waits(observed, (offer) => offer.lane === lane, Date.now()),
              0.5,
            ),
          ),
        ]),
      ),
      backlog_s: Math.round((backlogEnd(observed) - startedAt) / 1000),
    }
  } finally {
    await results.close()
    await client.close()
    await redis.close()
    await cosmos.close()
  }
}

/** Sends each request when its time has come; those that are due together travel together. */
async function send(client: ServiceBusClient, offers: readonly Offer[], startedAt: number): Promise<void> {
  const senders = new Map(laneNames.map((lane) => [lane, client.createSender(`requests-${lane}`)]))
  let next = 0
  while (next < offers.length) {
    const from = next
    while ((offers[next]?.atMs ?? Infinity) <= Date.now() - startedAt) next++
    const due = Map.groupBy(offers.slice(from, next), ({ lane }) => lane)
    await Promise.all(
      [...due].map(async ([lane, some]) => {
        const messages = some.map(({ key, tenant, body }) => ({
          body: { custom_id: key, method: 'POST', url: '/v1/chat/completions', body, sluice: { tenant } },
          applicationProperties: { idempotencyKey: key },
        }))
        await senders.get(lane)?.sendMessages(messages)
      }),
    )
    if (from === next) await sleep(10)
  }
  await Promise.all([...senders.values()].map((sender) => sender.close()))
}

async function leakedSlots(stack: TwoWorkers, redis: ReturnType<typeof connectRedis>['client']): Promise<number> {
  const admission = createAdmission({ redis, clock: systemClock, logger: quiet })
  const quotas = stack.platform.deployments.map(quotaOf)
  const inUse = async () => (await admission.states(quotas)).reduce((sum, { slotsInUse }) => sum + slotsInUse, 0)
  const until = Date.now() + settleMs
  try {
    while ((await inUse()) > 0 && Date.now() < until) await sleep(500)
    return await inUse()
  } finally {
    admission.close()
  }
}

async function offerToPool(stack: TwoWorkers, twin: TwinControl, offers: Offer[], seconds: number): Promise<object> {
  const url = stack.env.OPENAI_TWIN_URL ?? ''
  const { startedAt } = await naivePool({
    offers,
    targets: regions.map((region) => ({ baseURL: `${url}/r/${region}/openai/v1`, model: deploymentName })),
    apiKey: stack.apiKey,
    callers: 2 * stack.platform.slots,
    untilMs: 2 * seconds * 1000,
  })
  const endedAt = Date.now()
  const observed: Observed = {
    offers,
    startedAt,
    loadMs: seconds * 1000,
    calls: await twin.calls(),
    deployments: await twin.deployments(),
    idOf: ({ key }) => key,
  }
  const interactive = waits(observed, ({ lane }) => lane === 'interactive', endedAt)
  return {
    rate_429: round(rate429(observed)),
    quota_use: round(quotaUse(observed).share),
    interactive_wait_p99_ms: round(percentile(interactive, 0.99)),
  }
}

const round = (value: number | null): number | null => (value === null ? null : Math.round(value * 1000) / 1000)
