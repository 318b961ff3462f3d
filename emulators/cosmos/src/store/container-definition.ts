import { badRequest } from '../cosmos-error.ts'
import { isJsonObject, type Json, type JsonObject } from '../json.ts'
import { pathSteps, readPartitionKeyDefinition, type PartitionKeyDefinition } from '../partition-key.ts'
import { isPlainKey } from './json-path.ts'

// A type, not an interface: only that is assignable to a JSON object.
export type CompositePath = { path: string; order: 'ascending' | 'descending' }

export interface ContainerDefinition {
  id: string
  partitionKey: PartitionKeyDefinition
  /** Seconds; -1 keeps items unless they carry a `ttl`; absent switches expiry off whatever items carry. */
  defaultTtl?: number
  uniqueKeyPolicy: { uniqueKeys: { paths: string[] }[] }
  indexingPolicy: JsonObject & { compositeIndexes?: CompositePath[][] }
  /** Whatever else was sent (conflict resolution, analytical storage, …): stored and read back, without effect. */
  extra: JsonObject
}

const defaultIndexingPolicy = {
  indexingMode: 'consistent',
  automatic: true,
  includedPaths: [{ path: '/*' }],
  excludedPaths: [{ path: '/"_etag"/?' }],
}

/** Ids of databases and containers: no `/ \ ? #`, at most 255 characters, no trailing space. */
export const readResourceId = (value: Json | undefined): string => {
  if (typeof value !== 'string' || value === '') throw badRequest('The input name is missing or not a string.')
  if (/[/\\?#]/.test(value) || value.endsWith(' ') || value.length > 255)
    throw badRequest(
      `The input name '${value.slice(0, 300)}' is invalid. Ensure to provide a unique non-empty string of at most 255 characters without '/', '\\', '#', '?' or a trailing space.`,
    )
  return value
}

const readDefaultTtl = (value: Json | undefined): number | undefined => {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number' || !Number.isInteger(value) || value === 0 || value < -1)
    throw badRequest(
      `The input DefaultTimeToLive '${JSON.stringify(value)}' is invalid. Ensure to provide a nonzero positive integer or -1.`,
    )
  return value
}

const readUniqueKeys = (value: Json | undefined): { paths: string[] }[] => {
  const keys = isJsonObject(value) ? (value['uniqueKeys'] ?? []) : []
  if (!Array.isArray(keys)) throw badRequest('The unique key policy is invalid: uniqueKeys is not an array.')
  return keys.map((key) => {
    const paths = isJsonObject(key) ? key['paths'] : undefined
    if (!Array.isArray(paths) || paths.length === 0)
      throw badRequest('The unique key policy is invalid: a key has no paths.')
    return {
      paths: paths.map((path) => {
        if (typeof path !== 'string' || !path.startsWith('/') || !pathSteps(path).every(isPlainKey))
          throw badRequest(`The unique key path '${JSON.stringify(path)}' is invalid.`)
        return path
      }),
    }
  })
}

const readCompositePath = (value: Json): CompositePath => {
  const path = isJsonObject(value) ? value['path'] : undefined
  const order = isJsonObject(value) ? (value['order'] ?? 'ascending') : undefined
  if (typeof path !== 'string' || !path.startsWith('/') || (order !== 'ascending' && order !== 'descending'))
    throw badRequest(`The composite index path ${JSON.stringify(value)} is invalid.`)
  return { path, order }
}

const readIndexingPolicy = (value: Json | undefined): ContainerDefinition['indexingPolicy'] => {
  if (value === undefined) return { ...defaultIndexingPolicy }
  if (!isJsonObject(value)) throw badRequest('The indexing policy is not an object.')
  const composite = value['compositeIndexes'] ?? []
  if (!Array.isArray(composite)) throw badRequest('The indexing policy is invalid: compositeIndexes is not an array.')
  const compositeIndexes = composite.map((paths) => {
    if (!Array.isArray(paths) || paths.length < 2) throw badRequest('A composite index needs at least two paths.')
    return paths.map(readCompositePath)
  })
  return { ...defaultIndexingPolicy, ...value, compositeIndexes }
}

/** Checks a container as a client sends it; `previous` guards what cannot change. Throws 400. */
export const readContainerDefinition = (body: JsonObject, previous?: ContainerDefinition): ContainerDefinition => {
  const { id, partitionKey, defaultTtl, uniqueKeyPolicy, indexingPolicy, ...rest } = body
  const extra = Object.fromEntries(Object.entries(rest).filter(([name]) => !name.startsWith('_')))
  const ttl = readDefaultTtl(defaultTtl)
  const definition: ContainerDefinition = {
    id: readResourceId(id),
    partitionKey: readPartitionKeyDefinition(partitionKey),
    uniqueKeyPolicy: { uniqueKeys: readUniqueKeys(uniqueKeyPolicy) },
    indexingPolicy: readIndexingPolicy(indexingPolicy),
    extra,
    ...(ttl === undefined ? {} : { defaultTtl: ttl }),
  }
  if (previous === undefined) return definition
  if (previous.id !== definition.id) throw badRequest('The id of a container cannot be changed.')
  if (previous.partitionKey.paths.join() !== definition.partitionKey.paths.join())
    throw badRequest('Document collection partition key cannot be changed.')
  if (
    uniqueKeyPolicy !== undefined &&
    JSON.stringify(previous.uniqueKeyPolicy) !== JSON.stringify(definition.uniqueKeyPolicy)
  )
    throw badRequest('The unique key policy of a container cannot be changed.')
  return { ...definition, uniqueKeyPolicy: previous.uniqueKeyPolicy }
}
