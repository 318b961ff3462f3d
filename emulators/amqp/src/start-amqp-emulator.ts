import { startAdministrationServer } from './administration/administration-server.ts'
import { Broker } from './broker.ts'
import { systemClock, type Clock } from './clock.ts'
import type { AccessKey } from './config/access-key.ts'
import { readEventHubsConfig } from './config/event-hubs-config.ts'
import { readServiceBusConfig } from './config/service-bus-config.ts'
import { startControlServer } from './control/control-server.ts'
import { FaultPlan } from './control/fault-plan.ts'
import type { FaultRequest } from './control/parse-fault.ts'
import { AmqpServer, defaultServerLimits, type ServerLimits } from './server/amqp-server.ts'
import { LinkRouter } from './server/link-router.ts'
import { memoryJournal } from './store/memory-journal.ts'
import { sqliteJournal } from './store/sqlite-journal.ts'

export type AmqpEmulatorOptions = {
  /** 0 or absent: a free port. */
  port?: number
  /** Absent: 127.0.0.1. */
  host?: string
  /** Content of a Config.json of Microsoft's Service Bus emulator. */
  serviceBusConfig?: object
  /** Content of a Config.json of Microsoft's Event Hubs emulator. */
  eventHubsConfig?: object
  /** Keeps everything acknowledged there, so that it survives the process; absent: in memory. */
  dataDir?: string
  clock?: Clock
  /** The largest single Service Bus message (default 256 KiB); a batch may have 1 MiB, or this when it is more. */
  maxMessageBytes?: number
  limits?: Partial<ServerLimits>
}

export type AmqpEmulator = {
  port: number
  controlPort: number
  /** Port of the HTTP administration API, over TLS. */
  administrationPort: number
  /** The certificate (PEM) that clients of the administration API have to trust. */
  administrationCertificate: string
  administrationConnectionString: string
  serviceBusConnectionString: string
  eventHubsConnectionString: string
  close(): Promise<void>
}

const loopback = '127.0.0.1'
const defaultMessageBytes = 256 * 1024
const batchBytes = 1024 * 1024

/**
 * Starts a Service Bus and Event Hubs emulator on one AMQP port, and its control API on another:
 * `GET /_control/state` counts per entity; `POST /_control/faults` with one fault or a list
 * (`{"kind":"drop-connections"}`, `{"kind":"lose-locks","entity"?}`,
 * `{"kind":"refuse"|"delay"|"throttle","operation"?:"attach"|"send"|"settle"|"management","entity"?,"condition"?,"description"?,"delayMs"?,"count"?}`);
 * `DELETE /_control/faults`; `POST /_control/reset`.
 * @throws ConfigError when a configuration cannot be used, or the error of a listener or of the data directory
 */
export const startAmqpEmulator = async (options: AmqpEmulatorOptions = {}): Promise<AmqpEmulator> => {
  const host = options.host ?? loopback
  const clock = options.clock ?? systemClock
  const serviceBus = readServiceBusConfig(options.serviceBusConfig ?? {})
  const eventHubs = readEventHubsConfig(options.eventHubsConfig ?? {})
  const journal = options.dataDir === undefined ? memoryJournal() : sqliteJournal(options.dataDir, () => clock.now())
  const broker = new Broker({ clock, journal, serviceBus, eventHubs })
  const faults = new FaultPlan()
  const messageBytes = options.maxMessageBytes ?? defaultMessageBytes
  const router = new LinkRouter({
    context: { ...broker.context, faults, limits: { messageBytes, batchBytes: Math.max(messageBytes, batchBytes) } },
    entities: () => broker.entities,
    keys: { serviceBus: serviceBus.keys, eventHubs: eventHubs.keys },
  })
  const server = new AmqpServer(router, { ...defaultServerLimits, ...options.limits })
  const port = await server.listen(options.port ?? 0, host)
  const control = await startControlServer(
    {
      state: () => ({ connections: server.peers.size, faults: faults.faults, ...(broker.state() as object) }),
      addFaults: (requests) => requests.map((request) => apply(request, { server, broker, faults })),
      clearFaults: () => faults.clear(),
      reset: () => {
        faults.clear()
        server.dropConnections()
        broker.reset()
      },
    },
    host,
  )
  const administration = await startAdministrationServer({
    namespace: () => broker.entities.namespace,
    keys: serviceBus.keys,
    clock,
    host,
  })
  return {
    port,
    controlPort: control.port,
    administrationPort: administration.port,
    administrationCertificate: administration.certificate,
    administrationConnectionString: connectionString(administration.port, serviceBus.keys),
    serviceBusConnectionString: connectionString(port, serviceBus.keys),
    eventHubsConnectionString: connectionString(port, eventHubs.keys),
    close: async () => {
      await Promise.all([server.close(), control.close(), administration.close()])
      broker.close()
    },
  }
}

const apply = (
  request: FaultRequest,
  { server, broker, faults }: { server: AmqpServer; broker: Broker; faults: FaultPlan },
): unknown => {
  if (request.kind === 'drop-connections') return { dropped: server.dropConnections() }
  if (request.kind === 'lose-locks') return { lost: broker.loseLocks(request.entity) }
  faults.add(request)
  return { added: request }
}

// Clients connect without TLS only with the flag, and then take any key unless the configuration names one.
const connectionString = (port: number, keys: AccessKey[]): string => {
  const [key] = keys
  return `Endpoint=sb://localhost:${port};SharedAccessKeyName=${key?.keyName ?? 'RootManageSharedAccessKey'};SharedAccessKey=${key?.keys[0] ?? 'SAS_KEY_VALUE'};UseDevelopmentEmulator=true;`
}
