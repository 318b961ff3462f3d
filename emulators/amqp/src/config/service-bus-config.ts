import type { EntityProperties } from '../service-bus/entity-properties.ts'
import type { RuleDefinition, RuleFilter } from '../service-bus/rule-set.ts'
import { readAccessKeys, type AccessKey } from './access-key.ts'
import { ConfigError, ConfigReader } from './config-reader.ts'

export type QueueConfig = { name: string; properties: EntityProperties }
export type SubscriptionConfig = QueueConfig & { rules: RuleDefinition[] | undefined }
export type TopicConfig = QueueConfig & { subscriptions: SubscriptionConfig[] }
export type ServiceBusConfig = { queues: QueueConfig[]; topics: TopicConfig[]; keys: AccessKey[] }

const megabyte = 1024 * 1024
const defaults = { lockDurationMs: 60_000, maxDeliveryCount: 10, duplicateWindowMs: 600_000, maxSizeMegabytes: 1024 }

/**
 * Reads the configuration file of Microsoft's Service Bus emulator; all of its namespaces become one. Beyond that file a
 * namespace may have `AuthorizationRules`, see access-key.ts.
 * @throws ConfigError naming the place that is wrong
 */
export const readServiceBusConfig = (json: unknown): ServiceBusConfig => {
  const namespaces = new ConfigReader(json, 'config').object('UserConfig').list('Namespaces')
  const config: ServiceBusConfig = {
    queues: namespaces.flatMap((namespace) => namespace.list('Queues').map(readQueue)),
    topics: namespaces.flatMap((namespace) => namespace.list('Topics').map(readTopic)),
    keys: namespaces.flatMap(readAccessKeys),
  }
  refuseDuplicates([...config.queues, ...config.topics].map(({ name }) => name))
  for (const topic of config.topics)
    refuseDuplicates(topic.subscriptions.map(({ name }) => `${topic.name}/Subscriptions/${name}`))
  refuseBadForwards(config)
  return config
}

const readQueue = (entity: ConfigReader): QueueConfig => ({
  name: entity.name('Name'),
  properties: readProperties(entity.object('Properties')),
})

const readTopic = (entity: ConfigReader): TopicConfig => ({
  ...readQueue(entity),
  subscriptions: entity.list('Subscriptions').map(readSubscription),
})

const readSubscription = (entity: ConfigReader): SubscriptionConfig => {
  const queue = readQueue(entity)
  return {
    ...queue,
    properties: { ...queue.properties, maxSizeBytes: Infinity },
    rules: entity.has('Rules') ? entity.list('Rules').map(readRule) : undefined,
  }
}

const readProperties = (properties: ConfigReader): EntityProperties => ({
  lockDurationMs: properties.durationMs('LockDuration', defaults.lockDurationMs),
  maxDeliveryCount: properties.integer('MaxDeliveryCount', defaults.maxDeliveryCount, 1, 2 ** 31),
  defaultTtlMs: properties.durationMs('DefaultMessageTimeToLive', Infinity),
  deadLetterOnExpiration: properties.flag('DeadLetteringOnMessageExpiration', false),
  requiresSession: properties.flag('RequiresSession', false),
  requiresDuplicateDetection: properties.flag('RequiresDuplicateDetection', false),
  duplicateWindowMs: properties.durationMs('DuplicateDetectionHistoryTimeWindow', defaults.duplicateWindowMs),
  forwardTo: properties.text('ForwardTo') || undefined,
  forwardDeadLetteredTo: properties.text('ForwardDeadLetteredMessagesTo') || undefined,
  maxSizeBytes: properties.integer('MaxSizeInMegabytes', defaults.maxSizeMegabytes, 1, 81_920) * megabyte,
  status: properties.choice('Status', ['Active', 'Disabled', 'SendDisabled', 'ReceiveDisabled'], 'Active'),
})

const readRule = (rule: ConfigReader): RuleDefinition => {
  const properties = rule.object('Properties')
  const action = properties.has('Action') ? properties.object('Action').text('SqlExpression') : undefined
  return { name: rule.name('Name'), filter: readFilter(properties), action }
}

const readFilter = (properties: ConfigReader): RuleFilter => {
  const kind = properties.choice('FilterType', ['Sql', 'Correlation', 'True', 'False'], 'Sql')
  if (kind === 'True' || kind === 'False') return { always: kind === 'True' }
  if (kind === 'Sql') return { sql: properties.object('SqlFilter').name('SqlExpression') }
  const filter = properties.object('CorrelationFilter')
  return {
    correlation: {
      correlationId: filter.text('CorrelationId'),
      messageId: filter.text('MessageId'),
      to: filter.text('To'),
      replyTo: filter.text('ReplyTo'),
      subject: filter.text('Subject') ?? filter.text('Label'),
      sessionId: filter.text('SessionId'),
      replyToSessionId: filter.text('ReplyToSessionId'),
      contentType: filter.text('ContentType'),
      applicationProperties: filter.has('Properties')
        ? filter.record('Properties')
        : filter.record('ApplicationProperties'),
    },
  }
}

const refuseDuplicates = (names: string[]): void => {
  const seen = new Set<string>()
  for (const name of names) {
    if (seen.has(name.toLowerCase())) throw new ConfigError(`entity '${name}' is configured twice`)
    seen.add(name.toLowerCase())
  }
}

const longestForward = 4

// A cycle would forward a message forever; the service stops after four hops.
const refuseBadForwards = (config: ServiceBusConfig): void => {
  const targets = new Map<string, string[]>()
  for (const { name, properties } of config.queues) targets.set(name.toLowerCase(), forwards(properties))
  for (const topic of config.topics)
    targets.set(
      topic.name.toLowerCase(),
      topic.subscriptions.flatMap(({ properties }) => forwards(properties)),
    )
  const follow = (name: string, hops: number): void => {
    const next = targets.get(name.toLowerCase())
    if (next === undefined) throw new ConfigError(`forwarding to '${name}', which is not configured`)
    if (hops > longestForward)
      throw new ConfigError(`forwarding through '${name}' takes more than ${longestForward} hops`)
    for (const target of next) follow(target, hops + 1)
  }
  for (const name of targets.keys()) follow(name, 0)
}

const forwards = (properties: EntityProperties): string[] =>
  [properties.forwardTo, properties.forwardDeadLetteredTo].filter((target) => target !== undefined)
