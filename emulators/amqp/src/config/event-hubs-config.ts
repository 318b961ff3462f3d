import { readAccessKeys, type AccessKey } from './access-key.ts'
import { ConfigReader } from './config-reader.ts'

export type EventHubConfig = { name: string; partitionCount: number; consumerGroups: string[]; retentionMs: number }
export type EventHubsConfig = { hubs: EventHubConfig[]; keys: AccessKey[] }

const hourMs = 3_600_000
const defaultConsumerGroup = '$default'

/**
 * Reads the configuration file of Microsoft's Event Hubs emulator. Beyond that file an entity may have
 * `RetentionTimeInHours` (default 1, as that emulator retains) and a namespace `AuthorizationRules`, see access-key.ts.
 * @throws ConfigError naming the place that is wrong
 */
export const readEventHubsConfig = (json: unknown): EventHubsConfig => {
  const namespaces = new ConfigReader(json, 'config').object('UserConfig').list('NamespaceConfig')
  return {
    hubs: namespaces.flatMap((namespace) => namespace.list('Entities').map(readHub)),
    keys: namespaces.flatMap(readAccessKeys),
  }
}

const readHub = (entity: ConfigReader): EventHubConfig => ({
  name: entity.name('Name'),
  partitionCount: entity.integer('PartitionCount', 1, 1, 1024),
  consumerGroups: [defaultConsumerGroup, ...entity.list('ConsumerGroups').map((group) => group.name('Name'))],
  retentionMs: entity.integer('RetentionTimeInHours', 1, 1, 24 * 90) * hourMs,
})
