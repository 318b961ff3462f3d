import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ProcessEvent, SupervisedProcess } from '@sluice/emulator-host'
import { loadPlatformConfig } from '@sluice/service-kit'
import { parse, stringify } from 'yaml'
import { type LocalStack, startLocalStack } from '../../stack/src/local-stack.ts'
import { stackSecrets } from '../../stack/src/secrets.ts'
import { serviceProcess } from '../../stack/src/service-specs.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
export const regions = ['swedencentral', 'eastus2', 'westeurope'] as const
export const deploymentName = 'bench-small'
export const quota = { tokens_per_minute: 60_000, requests_per_minute: 600 }
/** How the twin answers: about 400 ms for an answer of 100 tokens. */
export const latency = { first_token_ms: 150, per_token_ms: 2.5, jitter: 0.2 }
const workers = 2

export interface TwoWorkers extends LocalStack {
  platform: ReturnType<typeof loadPlatformConfig>
  apiKey: string
  /** The one that is going to be killed; nothing restarts it. */
  victim: SupervisedProcess
}

/** The whole stack with two router workers, over three deployments whose quotas bind. */
export async function startTwoWorkers(durable: boolean): Promise<TwoWorkers> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const configFile = join(dir, 'sluice.yaml')
  const serviceBusConfig = join(dir, 'service-bus.json')
  writeFileSync(configFile, stringify(benchConfig()))
  writeFileSync(serviceBusConfig, JSON.stringify(withResultsForUs()))
  const report = (event: ProcessEvent) => {
    if (event.kind === 'note' || /"level":"(error|fatal)"/.test(event.line)) {
      console.error(event.name, event.kind === 'note' ? event.note : event.line.slice(0, 600))
    }
  }
  const env = { LOG_LEVEL: 'warn', WORKERS: String(workers) }
  const stack = await startLocalStack({
    localDir: dir,
    dataDir: durable ? join(dir, 'data') : undefined,
    port: 0,
    configFile,
    serviceBusConfig,
    env,
    report,
  })
  const secrets = stackSecrets(dir)
  const own = {
    ...stack.env,
    ...env,
    SLUICE_CONFIG: configFile,
    WEBHOOK_SECRETS_KEY: secrets.webhookSecretsKey,
    AZURE_OPENAI_API_KEY: secrets.apiKey,
    DRAIN_MS: '10000',
  }
  const victim = new SupervisedProcess({ ...serviceProcess('router-worker', own), restart: false }, report)
  const stop = async () => {
    await victim.stop()
    await stack.stop()
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    await victim.start()
  } catch (error) {
    await stop()
    throw error
  }
  return { ...stack, platform: loadPlatformConfig(configFile, own), apiKey: secrets.apiKey, victim, stop }
}

interface Config {
  deployments: object[]
  routing: { aliases?: object }
  cache?: object
}

function benchConfig(): Config {
  const { cache: _, ...config } = parse(readFileSync(join(root, 'config/sluice.yaml'), 'utf8')) as Config
  const deployments = regions.map((region) => ({
    name: `${deploymentName}-${region}`,
    azure_name: deploymentName,
    tier: 'small',
    model: 'Phi-4-mini-instruct',
    region,
    endpoint: `\${OPENAI_TWIN_URL}/r/${region}/openai/v1`,
    api_key: '${AZURE_OPENAI_API_KEY}',
    quota,
    price: { input: 0.075, output: 0.3 },
  }))
  const { aliases: __, ...routing } = config.routing
  return { ...config, routing, deployments }
}

interface Entities {
  UserConfig: { Namespaces: { Topics: { Name: string; Subscriptions: object[] }[] }[] }
}

function withResultsForUs(): Entities {
  const entities = JSON.parse(readFileSync(join(root, 'config/service-bus.json'), 'utf8')) as Entities
  const results = entities.UserConfig.Namespaces[0]?.Topics.find(({ Name }) => Name === 'results')
  results?.Subscriptions.push({ Name: 'bench', Properties: { LockDuration: 'PT1M', MaxDeliveryCount: 50 } })
  return entities
}
