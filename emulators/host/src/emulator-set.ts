import { azuriteConnectionString, azuriteProcess, emulatorProcess, freePort, redisProcess } from './process-specs.ts'
import { type ProcessEvent, SupervisedProcess } from './supervised-process.ts'

export interface EmulatorSetOptions {
  /** The AMQP port; 0 takes a free one. */
  port?: number
  /** Where state survives; absent keeps everything in memory. */
  dataDir?: string | undefined
  serviceBusConfig?: string | undefined
  eventHubsConfig?: string | undefined
  /** The twin's resources and deployments; absent takes its own default. */
  openaiConfig?: string | undefined
  /** The twin's timed faults. */
  openaiFaults?: string | undefined
  signalrKey?: string | undefined
  /** Where the certificate of the Service Bus administration API is written. */
  certificate?: string | undefined
  /** Azurite and a redis-server too. */
  all?: boolean
  report: (event: ProcessEvent) => void
}

/** Connection strings under the names that `.local/stack.env` uses. */
export type Connections = Record<string, string>

export interface EmulatorSet {
  connections: Connections
  /** The control APIs' base URLs, by emulator. */
  controls: Record<string, string>
  processes: ReadonlyMap<string, SupervisedProcess>
  stop(): Promise<void>
}

/** Starts the emulators side by side and waits until all of them are ready; stops what had started when one fails. */
export async function startEmulators(options: EmulatorSetOptions): Promise<EmulatorSet> {
  const { dataDir } = options
  const flag = (name: string, value: string | undefined) => (value === undefined ? [] : [name, value])
  const specs = [
    emulatorProcess('amqp', {
      port: options.port ?? 0,
      dataDir,
      args: [
        ...flag('--service-bus-config', options.serviceBusConfig),
        ...flag('--event-hubs-config', options.eventHubsConfig),
        ...flag('--certificate', options.certificate),
      ],
    }),
    emulatorProcess('cosmos', { dataDir }),
    emulatorProcess('signalr', { args: flag('--access-key', options.signalrKey) }),
    emulatorProcess('openai', {
      dataDir,
      args: [...flag('--config', options.openaiConfig), ...flag('--faults', options.openaiFaults)],
    }),
    ...(options.all === true ? [azuriteProcess({ dataDir }), redisProcess({ port: await freePort(), dataDir })] : []),
  ]
  const processes = new Map(specs.map((spec) => [spec.name, new SupervisedProcess(spec, options.report)]))
  const stop = async () => {
    await Promise.all([...processes.values()].map((child) => child.stop()))
  }
  const started = await Promise.allSettled(
    [...processes].map(async ([name, child]) => [name, await child.start()] as const),
  )
  const failed = started.find((result) => result.status === 'rejected')
  if (failed !== undefined) {
    await stop()
    throw failed.reason
  }
  const connections: Connections = {}
  const controls: Record<string, string> = {}
  for (const result of started) {
    if (result.status !== 'fulfilled') continue
    const [name, announced] = result.value
    for (const [field, value] of Object.entries(announced)) {
      if (/^[A-Z_]+$/.test(field) && typeof value === 'string') connections[field] = value
    }
    if (name === 'azurite') connections.AZURE_STORAGE_CONNECTION_STRING = azuriteConnectionString(announced.port ?? 0)
    if (name === 'redis') connections.REDIS_URL = `redis://127.0.0.1:${announced.port}`
    if (typeof announced.control === 'string') controls[name] = announced.control
  }
  return { connections, controls, processes, stop }
}
