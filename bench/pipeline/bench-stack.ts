import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse, stringify } from 'yaml'
import { type LocalStack, startLocalStack } from '../../stack/src/local-stack.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Requests in flight at a time, for the pipeline and for its floors alike. */
export const concurrency = 32

/**
 * A stack whose quotas never bind and whose model answers at once, with entities of their own for the floors, so that
 * pipeline and floors take turns on the same emulators.
 */
export async function startBenchStack(durable: boolean): Promise<LocalStack> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const configFile = join(dir, 'sluice.yaml')
  const serviceBusConfig = join(dir, 'service-bus.json')
  writeFileSync(configFile, stringify(unboundConfig()))
  writeFileSync(serviceBusConfig, JSON.stringify(withFloorEntities()))
  const stack = await startLocalStack({
    localDir: dir,
    dataDir: durable ? join(dir, 'data') : undefined,
    port: 0,
    configFile,
    serviceBusConfig,
    env: { LOG_LEVEL: 'warn', WEBHOOK_CONCURRENCY: String(concurrency * 2), SINK_SLOTS: String(concurrency * 2) },
    report: (event) => {
      if (event.kind === 'note' || /"level":"(warn|error|fatal)"/.test(event.line)) {
        console.error(event.name, event.kind === 'note' ? event.note : event.line.slice(0, 300))
      }
    },
  })
  return {
    ...stack,
    stop: async () => {
      await stack.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

interface Config {
  deployments: { quota: object }[]
  slots: number
}

function unboundConfig(): Config {
  const config = parse(readFileSync(join(root, 'config/sluice.yaml'), 'utf8')) as Config
  for (const deployment of config.deployments) {
    deployment.quota = { tokens_per_minute: 1_000_000_000, requests_per_minute: 100_000_000 }
  }
  config.slots = concurrency * 4
  return config
}

interface Entities {
  UserConfig: { Namespaces: { Queues: object[]; Topics: object[] }[] }
}

function withFloorEntities(): Entities {
  const entities = JSON.parse(readFileSync(join(root, 'config/service-bus.json'), 'utf8')) as Entities
  const [namespace] = entities.UserConfig.Namespaces
  const Properties = { LockDuration: 'PT1M', MaxDeliveryCount: 50 }
  for (const Name of ['floor-steps', 'floor-raw-in', 'floor-raw-out']) namespace?.Queues.push({ Name, Properties })
  namespace?.Topics.push({ Name: 'floor-results', Properties: {}, Subscriptions: [{ Name: 'webhooks', Properties }] })
  return entities
}
