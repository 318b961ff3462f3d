import { CosmosClient } from '@azure/cosmos'
import { AppError } from '@sluice/errors'
import { withDeadline } from '@sluice/resilience'
import { azureCredential } from './azure-credential.ts'
import { type ContainerName, provisionContainers } from './cosmos-containers.ts'
import { translateCosmos } from './cosmos-error.ts'
import { createCosmosHttpClient } from './cosmos-http-client.ts'
import { RowStore } from './cosmos-rows.ts'

export interface CosmosOptions {
  /** `https://<account>.documents.azure.com`, or a local emulator's `http://127.0.0.1:<port>`. */
  endpoint: string
  /** Absent: Azure's default credential chain. */
  key?: string | undefined
  database: string
  /** For one operation, the SDK's retries included. */
  deadlineMs?: number
}

export interface Cosmos {
  rows<T extends { id: string }>(container: ContainerName): RowStore<T>
  /** Creates the database and its containers where they are missing. */
  provision(): Promise<void>
  /** Resolves when the database answers; for readiness. */
  ping(): Promise<void>
  close(): Promise<void>
}

const provisionDeadlineMs = 30_000

/** A client of one database. It connects with the first operation. */
export function connectCosmos({ endpoint, key, database: name, deadlineMs = 10_000 }: CosmosOptions): Cosmos {
  const http = createCosmosHttpClient()
  const client = new CosmosClient({
    endpoint,
    ...(key === undefined ? { aadCredentials: azureCredential() } : { key }),
    httpClient: http.httpClient,
    connectionPolicy: {
      requestTimeout: deadlineMs,
      // An emulator advertises no regions to discover; an account's client learns from them where to fail over to.
      enableEndpointDiscovery: !isLocal(endpoint),
      // Only one region takes writes: fences rest on it.
      useMultipleWriteLocations: false,
      retryOptions: {
        maxRetryAttemptCount: 3,
        fixedRetryIntervalInMilliseconds: 0,
        maxWaitTimeInSeconds: Math.ceil(deadlineMs / 2000),
      },
    },
  })
  const database = client.database(name)

  const bounded = (ms: number, fn: (signal: AbortSignal) => Promise<unknown>): Promise<void> =>
    withDeadline(ms, undefined, fn, () => new AppError('storage_unavailable', `Cosmos DB took over ${ms} ms.`)).then(
      () => undefined,
      (thrown: unknown) => {
        const { kind } = translateCosmos(thrown)
        throw new AppError('storage_unavailable', `The database ${name} is ${kind}.`, { cause: thrown })
      },
    )

  return {
    rows: (container) => new RowStore(database.container(container), deadlineMs),
    provision: () =>
      bounded(provisionDeadlineMs, async (abortSignal) => {
        await client.databases.createIfNotExists({ id: name }, { abortSignal })
        await provisionContainers(database, abortSignal)
      }),
    ping: () => bounded(deadlineMs, (abortSignal) => database.read({ abortSignal })),
    close: async () => {
      client.dispose()
      await http.close()
    },
  }
}

function isLocal(endpoint: string): boolean {
  const { hostname } = new URL(endpoint)
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.')
}
