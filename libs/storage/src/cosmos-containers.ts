import {
  type Container,
  type ContainerRequest,
  type Database,
  PartitionKeyDefinitionVersion,
  PartitionKeyKind,
} from '@azure/cosmos'

export type ContainerName =
  | 'requests'
  | 'deliveries'
  | 'keys'
  | 'budgets'
  | 'lanes'
  | 'endpoints'
  | 'batches'
  | 'files'
  | 'cache'

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
      [
        '/id',
        '/tenant',
        '/status',
        '/published',
        '/accepted_at',
        '/updated_at',
        '/not_before',
        '/deadline',
        '/packed_in',
      ],
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
    // A row says for itself how long it lives, once it is settled.
    defaultTtl: -1,
    indexingPolicy: indexed(
      [
        '/id',
        '/tenant',
        '/requestId',
        '/status',
        '/sink',
        '/next_attempt_at',
        '/updated_at',
        '/endpoint',
        '/fifo_key',
        '/fifo_order',
      ],
      [
        // The sweepers: what is overdue, the longest first.
        [
          ['/status', 'ascending'],
          ['/next_attempt_at', 'ascending'],
          ['/id', 'ascending'],
        ],
        // A tenant's list by status, newest first.
        [
          ['/tenant', 'ascending'],
          ['/status', 'ascending'],
          ['/updated_at', 'descending'],
          ['/id', 'descending'],
        ],
        // The head of an ordered endpoint.
        [
          ['/fifo_key', 'ascending'],
          ['/fifo_order', 'ascending'],
        ],
      ],
    ),
  },
  endpoints: {
    id: 'endpoints',
    partitionKey: hierarchical('/tenant', '/id'),
    indexingPolicy: indexed(['/tenant', '/id', '/announced'], []),
  },
  // A logical batch and its parts share a partition; what is open and due is looked for over all of them.
  batches: {
    id: 'batches',
    partitionKey: hierarchical('/tenant', '/batch'),
    indexingPolicy: indexed(
      ['/id', '/tenant', '/batch', '/kind', '/open', '/due_at', '/created_at', '/holds'],
      [
        [
          ['/tenant', 'ascending'],
          ['/created_at', 'descending'],
          ['/id', 'descending'],
        ],
      ],
    ),
  },
  files: {
    id: 'files',
    partitionKey: hierarchical('/tenant', '/id'),
    indexingPolicy: indexed(
      ['/id', '/tenant', '/purpose', '/created_at'],
      [
        [
          ['/tenant', 'ascending'],
          ['/created_at', 'descending'],
          ['/id', 'descending'],
        ],
      ],
    ),
  },
  cache: {
    id: 'cache',
    partitionKey: hierarchical('/tenant', '/id'),
    // Each entry says for itself how long it lives.
    defaultTtl: -1,
    indexingPolicy: indexed(['/tenant', '/group', '/created_at'], []),
  },
  // What operators ordered for a lane; a handful of rows.
  lanes: { id: 'lanes', partitionKey: { paths: ['/id'] }, indexingPolicy: indexed(['/id'], []) },
  keys: { id: 'keys', partitionKey: { paths: ['/id'] }, indexingPolicy: indexed(['/tenant'], []) },
  // A row a tenant and month, read and written by its id alone.
  budgets: { id: 'budgets', partitionKey: { paths: ['/tenant'] }, indexingPolicy: indexed(['/tenant'], []) },
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
