import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ServiceBusSender, ServiceBusClient } from '@azure/service-bus'
import { type ProcessEvent, startEmulators, SupervisedProcess } from '@sluice/emulator-host'
import { provision } from '../../stack/src/provision.ts'
import { stackSecrets } from '../../stack/src/secrets.ts'
import { serviceProcess } from '../../stack/src/service-specs.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Calls in flight, for the notifier's lane of a receiver and for the floor alike. */
export const concurrency = 32

export interface BenchNotifier {
  notifier: SupervisedProcess
  redis: SupervisedProcess | undefined
  redisUrl: string
  topic: ServiceBusSender
  stop(): Promise<void>
}

/** A notifier as a process of its own, on emulators of its own; locks are short so that what a kill held comes soon. */
export async function startBenchNotifier(durable: boolean): Promise<BenchNotifier> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const serviceBusConfig = join(dir, 'service-bus.json')
  const entities = readFileSync(join(root, 'config/service-bus.json'), 'utf8')
  writeFileSync(serviceBusConfig, entities.replaceAll('PT30S', 'PT10S'))
  const secrets = stackSecrets(dir)
  const report = (event: ProcessEvent) => {
    if (event.kind === 'line' && /"level":"(error|fatal)"/.test(event.line)) console.error(event.line.slice(0, 300))
  }
  const emulators = await startEmulators({
    dataDir: durable ? join(dir, 'data') : undefined,
    serviceBusConfig,
    eventHubsConfig: join(root, 'config/event-hubs.json'),
    signalrKey: secrets.signalrKey,
    all: true,
    report,
  })
  await provision(emulators.connections)
  const env: Record<string, string> = {
    ...emulators.connections,
    SLUICE_CONFIG: join(root, 'config/sluice.yaml'),
    SLUICE_WEBHOOK_SECRET: secrets.webhookSecret,
    WEBHOOK_SECRETS_KEY: secrets.webhookSecretsKey,
    AZURE_OPENAI_API_KEY: secrets.apiKey,
    LOG_LEVEL: 'error',
    SWEEP_INTERVAL_MS: '1000',
    DRAIN_MS: '10000',
  }
  const notifier = new SupervisedProcess(serviceProcess('notifier', env), report)
  await notifier.start()
  const client = new ServiceBusClient(env.SERVICE_BUS_CONNECTION_STRING ?? '')
  return {
    notifier,
    redis: emulators.processes.get('redis'),
    redisUrl: emulators.connections.REDIS_URL ?? '',
    topic: client.createSender('results'),
    stop: async () => {
      await client.close()
      await notifier.stop()
      await emulators.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
