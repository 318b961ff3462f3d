import { type ChildProcess, spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { BenchOptions } from '../main.ts'
import { cpuMs, type Gateway, type Gateways, pin, residentMb, startGateways } from './gateways.ts'
import type { LoadFigures, LoadOrder } from './load.ts'

const names = ['direct', 'node', 'portkey', 'ingest'] as const
type Name = (typeof names)[number]

/** What one gateway showed in one round. Times in ms. */
interface Round {
  p50: number
  cpuPerRequest: number
  c500: { rps: number; p99: number }
  stream: { ttfb: number; cpuPerChunk: number }
  rss: number
}

const streamChunks = 40
const maxDrift = 0.25

const prompt =
  'Summarise in three bullet points why a queue in front of a rate-limited API helps, and name one drawback. '.repeat(3)

/**
 * The synchronous path against the upstream itself, a bare node:http proxy and Portkey's gateway: they take turns within
 * each round, on the same CPU, with the callers and the upstream on the others. A round in which the bare proxy's CPU
 * a request is more than a quarter off the median was disturbed and does not count.
 */
export async function run({ short }: BenchOptions): Promise<object> {
  const [wanted, ms] = short ? [1, 400] : [7, 3_000]
  const cpus = availableParallelism()
  // Whatever is started from here on stays off the gateways' CPU: the upstream and Redis too, not the callers alone.
  pin(process.pid, cpus > 1 ? `0-${cpus - 2}` : '0')
  const gateways = await startGateways()
  const load = startLoad()
  for (const name of names) pin(gateways[name].pid, String(cpus - 1))
  try {
    // The first calls pay for connections and compilation, the first some ten thousand for optimised code.
    for (const name of names) await measure(load.run, gateways, name, short ? 400 : 6_000)
    const rounds: Record<Name, Round>[] = []
    const most = short ? wanted : wanted * 2
    for (let made = 0; made < most && undisturbed(rounds).length < wanted; made++) {
      const round: Partial<Record<Name, Round>> = {}
      // Who goes first changes, so that nobody always has the caches that another one left.
      for (const index of names.keys()) {
        const name = names[(index + made) % names.length] as Name
        round[name] = await measure(load.run, gateways, name, ms)
      }
      rounds.push(round as Record<Name, Round>)
    }
    return figuresOf(undisturbed(rounds), rounds.length, cpus)
  } finally {
    load.child.stdin?.end()
    await gateways.stop()
  }
}

type RunLoad = (order: LoadOrder) => Promise<LoadFigures>

async function measure(load: RunLoad, gateways: Gateways, name: Name, ms: number): Promise<Round> {
  const gateway = gateways[name]
  const call = (connections: number, durationMs: number, { slow = false, stream = false } = {}) =>
    load({ ...orderOf(gateway, slow, stream), connections, durationMs })
  const alone = await call(1, ms / 2)
  const cpuBefore = cpuMs(gateway.pid)
  const busy = await call(32, ms)
  const cpuBetween = cpuMs(gateway.pid)
  const streamed = await call(32, Math.max(ms, 1_000), { stream: true })
  const cpuAfter = cpuMs(gateway.pid)
  const crowd = await call(500, Math.max(ms, 2_000), { slow: true })
  const failed = alone.failed + busy.failed + streamed.failed + crowd.failed
  if (failed > 0) throw new Error(`${name}: ${failed} calls failed`)
  return {
    p50: alone.p50Ms,
    cpuPerRequest: (cpuBetween - cpuBefore) / busy.requests,
    c500: { rps: crowd.rps, p99: crowd.p99Ms },
    stream: {
      ttfb: streamed.firstByteP50Ms,
      cpuPerChunk: (cpuAfter - cpuBetween) / (streamed.requests * streamChunks),
    },
    rss: residentMb(gateway.pid),
  }
}

function orderOf(gateway: Gateway, slow: boolean, stream: boolean) {
  const messages = [
    { role: 'system', content: 'You answer briefly.' },
    { role: 'user', content: prompt },
  ]
  const fields = { model: gateway.model(slow), messages, max_tokens: 200, temperature: 0.2 }
  const { port } = gateway
  const body = JSON.stringify(stream ? { ...fields, stream: true } : fields)
  return { port, path: gateway.path(slow), headers: gateway.headers(slow), body }
}

function undisturbed(rounds: Record<Name, Round>[]): Record<Name, Round>[] {
  const usual = median(rounds.map(({ node }) => node.cpuPerRequest))
  return rounds.filter(({ node }) => Math.abs(node.cpuPerRequest / usual - 1) <= maxDrift)
}

function figuresOf(rounds: Record<Name, Round>[], made: number, cpus: number): object {
  const of = (ratio: (round: Record<Name, Round>) => number) => round3(median(rounds.map(ratio)))
  const added = (round: Record<Name, Round>, name: Name) => round[name].p50 - round.direct.p50
  const addedFirst = (round: Record<Name, Round>, name: Name) => round[name].stream.ttfb - round.direct.stream.ttfb
  const each = (figure: (round: Round) => number) =>
    Object.fromEntries(names.map((name) => [name, round3(median(rounds.map((round) => figure(round[name]))))]))
  return {
    added_p50_ratio_portkey: of((round) => added(round, 'ingest') / added(round, 'portkey')),
    added_p50_ratio_node: of((round) => added(round, 'ingest') / added(round, 'node')),
    cpu_per_request_ratio_portkey: of(({ ingest, portkey }) => ingest.cpuPerRequest / portkey.cpuPerRequest),
    cpu_per_request_ratio_node: of(({ ingest, node }) => ingest.cpuPerRequest / node.cpuPerRequest),
    c500: {
      rps_ratio_direct: of(({ ingest, direct }) => ingest.c500.rps / direct.c500.rps),
      rps_ratio_portkey: of(({ ingest, portkey }) => ingest.c500.rps / portkey.c500.rps),
      p99_ratio_node: of(({ ingest, node }) => ingest.c500.p99 / node.c500.p99),
    },
    stream: {
      added_ttfb_ratio_node: of((round) => addedFirst(round, 'ingest') / addedFirst(round, 'node')),
      cpu_per_chunk_ratio_node: of(({ ingest, node }) => ingest.stream.cpuPerChunk / node.stream.cpuPerChunk),
    },
    rss_ratio_portkey: of(({ ingest, portkey }) => ingest.rss / portkey.rss),
    medians: {
      p50_ms: each(({ p50 }) => p50),
      cpu_per_request_ms: each(({ cpuPerRequest }) => cpuPerRequest),
      c500_rps: each(({ c500 }) => c500.rps),
      c500_p99_ms: each(({ c500 }) => c500.p99),
      ttfb_ms: each(({ stream }) => stream.ttfb),
      cpu_per_chunk_ms: each(({ stream }) => stream.cpuPerChunk),
      rss_mb: each(({ rss }) => rss),
    },
    rounds: rounds.length,
    rejected_rounds: made - rounds.length,
    node: process.version,
    cpus,
  }
}

const round3 = (value: number) => Math.round(value * 1000) / 1000
const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

function startLoad(): { child: ChildProcess; run: RunLoad } {
  const file = fileURLToPath(new URL('load.ts', import.meta.url))
  const child = spawn(process.execPath, [file], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const ready = lines.next()
  const run: RunLoad = async (order) => {
    await ready
    child.stdin.write(`${JSON.stringify(order)}\n`)
    const { value, done } = await lines.next()
    if (done === true) throw new Error('the load generator ended')
    return JSON.parse(value) as LoadFigures
  }
  return { child, run }
}
