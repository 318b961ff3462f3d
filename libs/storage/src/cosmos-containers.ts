import {
  type Container,
  type ContainerRequest,
  type Database,
  PartitionKeyDefinitionVersion,
  PartitionKeyKind,
} from '@azure/cosmos'

export type ContainerName = 'requests' | 'deliveries' | 'keys'

const hierarchical = (...paths: string[]) => ({
  paths,
  kind: PartitionKeyKind.MultiHash,
  version: PartitionKeyDefinitionVersion.V2,
})

// Every index is paid for with each write, so only what a query filters or sorts by is indexed.
const indexed = (paths: string[], composite: [path: string, order: 'ascending' | 'descending'][][]) => ({
  indexingMode: 'consistent' as const,
  automatic: true,
  includedPaths: paths.map((path) => ({ path: `${path}/?` })),
  excludedPaths: [{ path: '/*' }],
  compositeIndexes: composite.map((columns) => columns.map(([path, order]) => ({ path, order }))),
})

const definitions: Record<ContainerName, ContainerRequest> = {
  requests: {
    id: 'requests',
    partitionKey: hierarchical('/tenant', '/id'),
    indexingPolicy: indexed(
      ['/id', '/tenant', '/status', '/published', '/accepted_at', '/updated_at', '/not_before', '/deadline'],
      [
        // The sweepers: unsettled rows, the longest untouched first.
        [
          ['/published', 'ascending'],
          ['/updated_at', 'ascending'],
          ['/id', 'ascending'],
        ],
        // A tenant's list, newest first.
        [
          ['/tenant', 'ascending'],
          ['/accepted_at', 'descending'],
          ['/id', 'descending'],
        ],
      ],
    ),
  },
  deliveries: {
    id: 'deliveries',
    partitionKey: hierarchical('/tenant', '/requestId'),
    indexingPolicy: indexed(
      ['/tenant', '/requestId', '/status', '/next_attempt_at'],
      [
        [
          ['/status', 'ascending'],
          ['/next_attempt_at', 'ascending'],
        ],
      ],
    ),
  },
  keys: { id: 'keys', partitionKey: { paths: ['/id'] }, indexingPolicy: indexed(['/tenant'], []) },
}

/**
 * Creates the containers that are missing. Existing ones are left as they are: changing a live container's indexes is a
 * migration, and belongs to infra/.
 */
export async function provisionContainers(database: Database, signal: AbortSignal): Promise<Container[]> {
  const made = Object.values(definitions).map((definition) =>
    database.containers.createIfNotExists(definition, { abortSignal: signal }),
  )
  return (await Promise.all(made)).map(({ container }) => container)
}
