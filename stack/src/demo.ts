import { randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ServiceBusClient } from '@azure/service-bus'
import type { PlatformConfig, ResultEvent } from '@sluice/contracts'
import { loadPlatformConfig } from '@sluice/service-kit'
import { demoLines } from './demo-lines.ts'
import { type SinkName, startReceivers } from './demo-receivers.ts'
import { percentile, type Progress, sinkNames, tableHead, tableRow } from './demo-table.ts'
import { startLocalStack } from './local-stack.ts'
import { runningInstance } from './single-instance.ts'
import { parseStackEnv } from './stack-env.ts'

// Sends 24 lines over Service Bus and waits until each has arrived at a webhook, a SignalR client and an Event Hubs
// consumer. Exit code 0 only when all of them did.

const timeoutMs = 120_000
const root = fileURLToPath(new URL('../../', import.meta.url))

const { env, stop } = await connect()
const ok = await demo(env).catch((error: unknown) => {
  console.error(error)
  return false
})
await stop()
process.exit(ok ? 0 : 1)

/** The running stack of this clone, or one of its own that keeps nothing. */
async function connect(): Promise<{ env: Record<string, string>; stop: () => Promise<void> }> {
  const envFile = join(root, '.local/stack.env')
  if (runningInstance(join(root, '.local/stack.pid')) !== undefined && existsSync(envFile)) {
    return { env: parseStackEnv(readFileSync(envFile, 'utf8')), stop: async () => {} }
  }
  console.log('no stack runs in this clone: starting one …')
  const localDir = mkdtempSync(join(tmpdir(), 'sluice-demo-'))
  const stack = await startLocalStack({ localDir, dataDir: undefined, port: 0, report: () => {} })
  return {
    env: stack.env,
    stop: async () => {
      await stack.stop()
      rmSync(localDir, { recursive: true, force: true })
    },
  }
}

async function demo(env: Record<string, string>): Promise<boolean> {
  const run = randomUUID().slice(0, 8)
  const user = `demo-${run}`
  const progress = new Map<string, Progress>()
  const live = process.stdout.isTTY
  let sentAt = 0
  let done: () => void = () => {}
  const allArrived = new Promise<void>((resolve) => (done = resolve))

  const onEvent = (sink: SinkName, event: ResultEvent) => {
    const line = progress.get(event.data.custom_id)
    // Another run's event, or one that came twice.
    if (line === undefined || line.arrived.has(sink)) return
    line.arrived.set(sink, performance.now() - sentAt)
    line.event = event
    if (live) draw([...progress.values()])
    else if (line.arrived.size === sinkNames.length) console.log(tableRow(line))
    if ([...progress.values()].every(({ arrived }) => arrived.size === sinkNames.length)) done()
  }
  const receivers = await startReceivers(env, user, onEvent)
  const lines = demoLines(run, [
    { type: 'webhook', url: receivers.webhookUrl },
    { type: 'signalr', user },
    { type: 'event-hubs' },
  ])
  for (const { custom_id: customId } of lines) progress.set(customId, { customId, arrived: new Map() })

  const client = new ServiceBusClient(env.SERVICE_BUS_CONNECTION_STRING ?? '')
  let timer: NodeJS.Timeout | undefined
  try {
    console.log(`sending ${lines.length} lines to requests-standard\n`)
    console.log(live ? '\n'.repeat(lines.length + 1) : tableHead)
    const sender = client.createSender('requests-standard')
    sentAt = performance.now()
    await sender.sendMessages(
      lines.map((body) => ({ body, contentType: 'application/json', correlationId: body.custom_id })),
    )
    await Promise.race([allArrived, new Promise((resolve) => (timer = setTimeout(resolve, timeoutMs)))])
  } finally {
    clearTimeout(timer)
    await client.close()
    await receivers.close()
  }
  return summary([...progress.values()], loadPlatform(env))
}

function draw(rows: Progress[]): void {
  const text = [tableHead, ...rows.map(tableRow)].map((row) => `\u001b[2K${row}`).join('\n')
  process.stdout.write(`\u001b[${rows.length + 1}A${text}\n`)
}

function loadPlatform(env: Record<string, string>): PlatformConfig {
  return loadPlatformConfig(join(root, 'config/sluice.yaml'), {
    OPENAI_TWIN_URL: 'http://127.0.0.1:1',
    AZURE_OPENAI_API_KEY: 'unused',
    SLUICE_WEBHOOK_SECRET: env.SLUICE_WEBHOOK_SECRET ?? '',
  })
}

function summary(rows: Progress[], platform: PlatformConfig): boolean {
  const results = rows.flatMap(({ event }) => (event === undefined ? [] : [event.data.sluice]))
  const tiers = Object.groupBy(results, ({ decision }) => decision?.tier ?? 'none')
  const large = platform.deployments.find(({ tier }) => tier === 'large')?.price
  const cost = results.reduce((sum, { cost_usd }) => sum + cost_usd, 0)
  const alwaysLarge = results.reduce(
    (sum, { usage }) =>
      sum + (usage.input_tokens * (large?.input ?? 0) + usage.output_tokens * (large?.output ?? 0)) / 1e6,
    0,
  )
  const webhookMs = rows.flatMap(({ arrived }) => arrived.get('webhook') ?? [])
  const delivered = sinkNames.map((sink) => `${sink} ${rows.filter(({ arrived }) => arrived.has(sink)).length}`)
  const ok = rows.every(
    ({ arrived, event }) => arrived.size === sinkNames.length && event?.data.sluice.status === 'succeeded',
  )
  console.log(`
tiers        ${Object.entries(tiers)
    .map(([tier, list]) => `${tier} ${list.length}`)
    .join(', ')}
cost         $${cost.toFixed(6)}, always large $${alwaysLarge.toFixed(6)}${alwaysLarge > 0 ? ` (${Math.round((1 - cost / alwaysLarge) * 100)} % saved)` : ''}
latency      p50 ${Math.round(percentile(webhookMs, 0.5))} ms, p99 ${Math.round(percentile(webhookMs, 0.99))} ms, sent to webhook received
deliveries   ${delivered.join(', ')} of ${rows.length}
${ok ? 'all arrived' : 'SOMETHING IS MISSING'}`)
  return ok
}
