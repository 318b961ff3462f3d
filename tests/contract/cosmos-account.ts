import { randomUUID } from 'node:crypto'
import {
  CosmosClient,
  type Container,
  type ContainerDefinition,
  type Database,
  type PartitionKeyDefinition,
} from '@azure/cosmos'
import { startCosmosEmulator, type CosmosEmulator, type CosmosEmulatorOptions } from '@sluice/emulator-cosmos'
import { afterAll, beforeAll } from 'vitest'
import { realAzure } from './real-azure.ts'

/** `AccountEndpoint=…;AccountKey=…` of a real account to run the suite against; the emulator's own features are left out then. */
export const realAccount = realAzure.cosmos

export interface TestAccount {
  readonly endpoint: string
  readonly key: string
  readonly client: CosmosClient
  readonly database: Database
  /** A new container; `/pk` unless told otherwise. */
  container(definition?: ContainerDefinition): Promise<Container>
}

export const connect = (endpoint: string, key: string, maxRetryAttemptCount = 0): CosmosClient =>
  new CosmosClient({
    endpoint,
    key,
    connectionPolicy: { enableEndpointDiscovery: false, retryOptions: { maxRetryAttemptCount } },
  })

const field = (connectionString: string, name: string): string =>
  new RegExp(`(?:^|;)${name}=([^;]+)`, 'i').exec(connectionString)?.[1] ?? ''

/** Starts an account before the tests of the enclosing describe block and closes it, with its client, after them. */
export const useAccount = (options: CosmosEmulatorOptions = {}): TestAccount => {
  let emulator: CosmosEmulator | undefined
  let client: CosmosClient | undefined
  let database: Database | undefined
  const opened = <T>(value: T | undefined): T => {
    if (value === undefined) throw new Error('The account is only open inside tests.')
    return value
  }
  beforeAll(async () => {
    if (realAccount === undefined) {
      emulator = await startCosmosEmulator(options)
      client = connect(emulator.endpoint, emulator.key)
    } else client = new CosmosClient(realAccount)
    database = (await client.databases.create({ id: `test-${randomUUID()}` })).database
  })
  afterAll(async () => {
    if (realAccount !== undefined) await database?.delete()
    client?.dispose()
    await emulator?.close()
  })
  return {
    get endpoint() {
      return realAccount === undefined ? opened(emulator).endpoint : field(realAccount, 'AccountEndpoint')
    },
    get key() {
      return realAccount === undefined ? opened(emulator).key : field(realAccount, 'AccountKey')
    },
    get client() {
      return opened(client)
    },
    get database() {
      return opened(database)
    },
    container: async (definition = {}) => {
      const id = definition.id ?? `c-${randomUUID()}`
      const partitionKey = definition.partitionKey ?? { paths: ['/pk'] }
      return (await opened(database).containers.create({ ...definition, id, partitionKey })).container
    },
  }
}

/** Runs `use` with a client of its own, which is disposed of afterwards. */
export const withClient = async <T>(client: CosmosClient, use: (client: CosmosClient) => Promise<T>): Promise<T> => {
  try {
    return await use(client)
  } finally {
    client.dispose()
  }
}

/** The error a call fails with, as the SDK reports it; fails the test when the call succeeds. */
export const failure = async (
  call: Promise<unknown>,
): Promise<{ code: unknown; substatus: unknown; message: string; retryAfterInMs: unknown }> => {
  try {
    await call
  } catch (error) {
    const { code, substatus, message, retryAfterInMs } = error as Record<string, unknown>
    return { code, substatus, message: String(message), retryAfterInMs }
  }
  throw new Error('The call was expected to fail.')
}

/** A hierarchical key definition. */
export const hierarchical = (...paths: string[]): PartitionKeyDefinition =>
  ({ paths, kind: 'MultiHash', version: 2 }) as PartitionKeyDefinition
