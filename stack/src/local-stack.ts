import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type EmulatorSet, type ProcessEvent, startEmulators, SupervisedProcess } from '@sluice/emulator-host'
import { loadPlatformConfig } from '@sluice/service-kit'
import { provision } from './provision.ts'
import { type StackSecrets, stackSecrets } from './secrets.ts'
import { serviceNames, serviceProcess } from './service-specs.ts'
import { twinConfig, withRealEndpoint } from './twin-config.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

export interface StackOptions {
  /** Where secrets, generated configuration and stack.env go. */
  localDir: string
  /** Where state survives; undefined keeps everything in memory. */
  dataDir: string | undefined
  /** ingest's port; 0 takes a free one. */
  port: number
  /** The platform configuration; default config/sluice.yaml. */
  configFile?: string
  /** The entities; default config/service-bus.json. */
  serviceBusConfig?: string
  /** Added to every service's environment. */
  env?: Record<string, string>
  report: (event: ProcessEvent) => void
}

export interface LocalStack {
  /** Addresses and keys, as written to stack.env. */
  env: Record<string, string>
  /** The twin's configuration as it was generated. */
  twinConfigFile: string
  /** The control APIs of the emulators, by name. */
  controls: Record<string, string>
  /** Every child process by name, to be watched or killed in fault tests. */
  processes: ReadonlyMap<string, SupervisedProcess>
  stop(): Promise<void>
}

/** The whole platform on this machine: stand-ins, Azurite, Redis and the four services as supervised processes. */
export async function startLocalStack(options: StackOptions): Promise<LocalStack> {
  mkdirSync(options.localDir, { recursive: true })
  const secrets = stackSecrets(options.localDir)
  const { platformFile, twinFile } = writeConfiguration(options, secrets)
  const emulators = await startEmulators({
    dataDir: options.dataDir,
    serviceBusConfig: options.serviceBusConfig ?? join(root, 'config/service-bus.json'),
    eventHubsConfig: join(root, 'config/event-hubs.json'),
    openaiConfig: twinFile,
    signalrKey: secrets.signalrKey,
    all: true,
    report: options.report,
  })
  const services = new Map<string, SupervisedProcess>()
  // Services first, so that they can still finish what they hold; then what they stand on.
  const stop = async () => {
    await Promise.all([...services.values()].map((service) => service.stop()))
    await emulators.stop()
  }
  try {
    await provision(emulators.connections)
    const common = serviceEnvironment(options, secrets, emulators, platformFile)
    for (const name of serviceNames) {
      const env = name === 'ingest' ? { ...common, PORT: String(options.port) } : common
      services.set(name, new SupervisedProcess(serviceProcess(name, env), options.report))
    }
    const announced = await Promise.all(
      [...services].map(async ([name, child]) => [name, await child.start()] as const),
    )
    const env: Record<string, string> = {
      INGEST_URL: `http://127.0.0.1:${announced.find(([name]) => name === 'ingest')?.[1].port}`,
      SLUICE_API_KEY: common.PROXY_API_KEY ?? '',
      SLUICE_TENANT: 'local',
      SLUICE_WEBHOOK_SECRET: secrets.webhookSecret,
      ...emulators.connections,
    }
    for (const [name, { healthPort }] of announced) {
      env[`${name.toUpperCase().replaceAll('-', '_')}_HEALTH_URL`] = `http://127.0.0.1:${String(healthPort)}`
    }
    return {
      env,
      twinConfigFile: twinFile,
      controls: emulators.controls,
      processes: new Map([...emulators.processes, ...services]),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function writeConfiguration(options: StackOptions, secrets: StackSecrets): { platformFile: string; twinFile: string } {
  const configFile = options.configFile ?? join(root, 'config/sluice.yaml')
  const twinFile = join(options.localDir, 'twin.json')
  // The twin's address is not known yet and does not matter here: resources are named by the path.
  const platform = loadPlatformConfig(configFile, {
    ...process.env,
    OPENAI_TWIN_URL: 'http://127.0.0.1:1',
    AZURE_OPENAI_API_KEY: secrets.apiKey,
    SLUICE_WEBHOOK_SECRET: secrets.webhookSecret,
  })
  writeFileSync(twinFile, JSON.stringify(twinConfig(platform, secrets.apiKey)), { mode: 0o600 })
  const { AZURE_OPENAI_URL: url, AZURE_OPENAI_API_KEY: key } = process.env
  if (url === undefined || key === undefined) return { platformFile: configFile, twinFile }
  const platformFile = join(options.localDir, 'sluice.json')
  writeFileSync(platformFile, JSON.stringify(withRealEndpoint(platform, url, key)), { mode: 0o600 })
  return { platformFile, twinFile }
}

function serviceEnvironment(
  options: StackOptions,
  secrets: StackSecrets,
  emulators: EmulatorSet,
  platformFile: string,
): Record<string, string> {
  return {
    ...emulators.connections,
    SLUICE_CONFIG: platformFile,
    SLUICE_WEBHOOK_SECRET: secrets.webhookSecret,
    WEBHOOK_SECRETS_KEY: secrets.webhookSecretsKey,
    // The twin's key is the stack's own; a real endpoint's key is already in the generated configuration.
    AZURE_OPENAI_API_KEY: secrets.apiKey,
    PROXY_API_KEY: process.env.PROXY_API_KEY ?? secrets.apiKey,
    PROXY_API_TENANT: 'local',
    DRAIN_MS: '10000',
    ...options.env,
  }
}
