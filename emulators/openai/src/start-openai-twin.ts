import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { BatchQueue } from './batches/batch-queue.ts'
import { CallLog } from './control/call-log.ts'
import { parseConfig } from './config.ts'
import type { TwinConfigInput } from './config.ts'
import { serveControl } from './control/control-api.ts'
import { defaultConfig } from './default-config.ts'
import { Deployment } from './quotas/deployment.ts'
import { Evictions } from './control/eviction.ts'
import { FaultList } from './control/faults.ts'
import { FaultScript } from './control/fault-script.ts'
import { FileStore } from './files/file-store.ts'
import { TwinDatabase } from './files/twin-database.ts'
import { PersistedClock } from './persisted-clock.ts'
import { PromptCache } from './model/prompt-cache.ts'
import { ClientSecrets } from './realtime/client-secrets.ts'
import { RealtimeServer } from './realtime/serve-upgrade.ts'
import { ResponseStore } from './inference/response-store.ts'
import { serveCall } from './http/serve-call.ts'
import type { Resource, Twin, TwinCore } from './twin.ts'
import { VirtualClock } from './virtual-clock.ts'

export interface OpenAITwinOptions {
  /** 0, the default, takes a free port. */
  port?: number
  /** 127.0.0.1 unless said otherwise. */
  host?: string
  /** Resources and deployments; three regions with every kind of deployment without it. */
  config?: TwinConfigInput
  /** Answers, draws and window phases depend on it; 1 without it. */
  seed?: number
  /** Where files and batches survive a restart; without it they live in a temporary folder until close. */
  dataDir?: string
  /** The time source under the virtual clock, in epoch milliseconds; the machine's clock without it. */
  clock?: () => number
  /** A timed list of faults, as a fault script file holds it. */
  script?: unknown
  /** Calls that the call log keeps; 50,000 without it. */
  callLogSize?: number
  /** Request headers that the call log keeps besides x-ms-client-request-id. */
  loggedHeaders?: readonly string[]
}

export interface OpenAITwin {
  port: number
  /** The root; a resource is at `${url}/r/<name>`, the control API at `${url}/_control`. */
  url: string
  /** Closes every connection and stops listening. */
  close(): Promise<void>
}

const tickMs = 50

function buildResources(config: TwinConfigInput, clock: VirtualClock, seed: number): Map<string, Resource> {
  const resources = new Map<string, Resource>()
  for (const settings of parseConfig(config).resources) {
    const place = { resource: settings.name, region: settings.region }
    const deployments = settings.deployments.map(
      (item) => [item.name, new Deployment(item, place, clock, seed)] as const,
    )
    resources.set(settings.name, { settings, deployments: new Map(deployments) })
  }
  return resources
}

/**
 * Starts a twin of one or more Azure OpenAI resources on one port.
 * @throws TypeError when the configuration or the fault script is malformed; the listen error when the port is taken.
 */
export async function startOpenAITwin(options: OpenAITwinOptions = {}): Promise<OpenAITwin> {
  const seed = options.seed ?? 1
  const source = options.clock ?? Date.now
  const clock = new VirtualClock(source)
  const resources = buildResources(options.config ?? defaultConfig, clock, seed)
  const database = new TwinDatabase(options.dataDir)
  const persistedClock = new PersistedClock(clock, source, database)
  const core: TwinCore = {
    seed,
    clock,
    resources,
    faults: new FaultList(seed),
    calls: new CallLog(options.callLogSize ?? 50_000),
    promptCache: new PromptCache(clock),
    responses: new ResponseStore(),
    evictions: new Evictions(),
    files: new FileStore(database, clock, options.dataDir),
    loggedHeaders: (options.loggedHeaders ?? ['traceparent', 'idempotency-key']).map((name) => name.toLowerCase()),
    secrets: new ClientSecrets(clock),
    open: new Set(),
  }
  const twin: Twin = { ...core, batches: new BatchQueue(core, database) }
  const script = new FaultScript(options.script ?? [], twin)
  const server = createServer({ keepAliveTimeout: 75_000, requestTimeout: 600_000 }, (req, res) => {
    if (req.url?.startsWith('/_control/')) void serveControl(twin, req, res)
    else void serveCall(twin, req, res)
  })
  const realtime = new RealtimeServer(twin)
  server.on('upgrade', (req, socket, head) => void realtime.upgrade(req, socket, head))
  server.on('clientError', (_error, socket) => socket.destroy())
  const tick = (): void => {
    script.runDue()
    twin.evictions.runDue(twin)
    twin.batches.runDue()
    persistedClock.save()
  }
  const ticker = setInterval(tick, tickMs)
  const stopListening = clock.onJump(tick)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://${options.host ?? '127.0.0.1'}:${port}`,
    close: async () => {
      clearInterval(ticker)
      stopListening()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      realtime.close()
      server.closeAllConnections()
      await closed
      await twin.batches.close()
      twin.files.close()
      database.close()
    },
  }
}
