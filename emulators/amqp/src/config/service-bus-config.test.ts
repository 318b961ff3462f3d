import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { formatDuration, parseDuration } from './duration.ts'
import { readEventHubsConfig } from './event-hubs-config.ts'
import { readServiceBusConfig } from './service-bus-config.ts'

const read = (file: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../../../config/${file}`, import.meta.url), 'utf8'))
const withQueues = (...Queues: object[]): object => ({ UserConfig: { Namespaces: [{ Name: 'ns', Queues }] } })

test('the repository’s own definitions are read', () => {
  const config = readServiceBusConfig(read('service-bus.json'))
  expect(config.queues.find(({ name }) => name === 'conversations')?.properties).toMatchObject({
    requiresSession: true,
    lockDurationMs: 30_000,
    maxDeliveryCount: 50,
  })
  expect(config.topics[0]?.subscriptions.find(({ name }) => name === 'signalr')?.rules).toEqual([
    { name: 'sink', filter: { sql: 'sink_signalr = true' }, action: undefined },
  ])
  expect(readEventHubsConfig(read('event-hubs.json')).hubs).toEqual([
    { name: 'results', partitionCount: 4, consumerGroups: ['$default', 'cg1'], retentionMs: 3_600_000 },
  ])
})

test('absent properties get the service’s defaults', () => {
  expect(readServiceBusConfig(withQueues({ Name: 'q' })).queues[0]?.properties).toMatchObject({
    lockDurationMs: 60_000,
    maxDeliveryCount: 10,
    defaultTtlMs: Infinity,
    status: 'Active',
  })
  expect(readServiceBusConfig({})).toEqual({ queues: [], topics: [], keys: [] })
})

test.each([
  ['a name that is missing', withQueues({}), /Queues\[0\]\.Name must be a text/],
  [
    'a duration that is none',
    withQueues({ Name: 'q', Properties: { LockDuration: '30s' } }),
    /LockDuration must be an ISO 8601 duration/,
  ],
  [
    'a count out of range',
    withQueues({ Name: 'q', Properties: { MaxDeliveryCount: 0 } }),
    /MaxDeliveryCount must be a whole number from 1/,
  ],
  [
    'a flag that is none',
    withQueues({ Name: 'q', Properties: { RequiresSession: 'maybe' } }),
    /RequiresSession must be true or false/,
  ],
  ['an unknown status', withQueues({ Name: 'q', Properties: { Status: 'Sleeping' } }), /Status must be one of Active/],
  ['two of one name', withQueues({ Name: 'q' }, { Name: 'Q' }), /'Q' is configured twice/],
  [
    'a forward to nowhere',
    withQueues({ Name: 'q', Properties: { ForwardTo: 'x' } }),
    /forwarding to 'x', which is not configured/,
  ],
  [
    'a forward in a circle',
    withQueues({ Name: 'a', Properties: { ForwardTo: 'b' } }, { Name: 'b', Properties: { ForwardTo: 'a' } }),
    /more than 4 hops/,
  ],
  ['a list that is none', { UserConfig: { Namespaces: {} } }, /Namespaces must be a list/],
  ['text instead of an object', 'queues', /config must be an object/],
])('%s is refused, naming the place', (_, config, message) => {
  expect(() => readServiceBusConfig(config)).toThrow(message)
})

test.each([
  ['PT30S', 30_000],
  ['PT1M', 60_000],
  ['P14D', 1_209_600_000],
  ['P1DT2H3M4.5S', 93_784_500],
  ['PT0S', 0],
  ['P10675199DT2H48M5.4775807S', Infinity],
  ['P', undefined],
  ['PT', undefined],
  ['30', undefined],
  ['PT-1S', undefined],
])('duration %s', (text, expected) => {
  expect(parseDuration(text)).toBe(expected)
  if (expected !== undefined) expect(parseDuration(formatDuration(expected))).toBe(expected)
})
