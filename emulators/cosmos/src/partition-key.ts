import { badRequest } from './cosmos-error.ts'
import { isJsonObject, type Json, type JsonObject } from './json.ts'

export interface PartitionKeyDefinition {
  paths: string[]
  kind: 'Hash' | 'MultiHash'
  version: number
}

/** `undefined` is the "none" value: the item has no such property. */
export type PartitionKeyComponent = string | number | boolean | null | undefined

const maxLevels = 3

/** Checks a container's definition; the defaults are the service's (`/_partitionKey` is not supported: a path is needed). */
export const readPartitionKeyDefinition = (value: unknown): PartitionKeyDefinition => {
  if (!isJsonObject(value) || !Array.isArray(value['paths']) || value['paths'].length === 0)
    throw badRequest('The partition key definition is missing or has no paths.')
  const paths = value['paths'].map((path) => {
    if (typeof path !== 'string' || !/^(\/[^/]+)+$/.test(path) || path.includes('*'))
      throw badRequest(`The partition key path '${JSON.stringify(path)}' is invalid.`)
    return path
  })
  const kind = value['kind'] ?? (paths.length > 1 ? 'MultiHash' : 'Hash')
  if (kind !== 'Hash' && kind !== 'MultiHash')
    throw badRequest(`The partition key kind '${JSON.stringify(kind)}' is invalid.`)
  if (kind === 'Hash' && paths.length > 1)
    throw badRequest('Too many partition key paths for kind Hash; the kind MultiHash takes several.')
  if (paths.length > maxLevels) throw badRequest(`A hierarchical partition key has at most ${maxLevels} levels.`)
  if (new Set(paths).size !== paths.length) throw badRequest('The partition key paths must differ.')
  const version = value['version'] ?? (kind === 'MultiHash' ? 2 : 1)
  if (version !== 1 && version !== 2)
    throw badRequest(`The partition key version '${JSON.stringify(version)}' is invalid.`)
  return { paths, kind, version }
}

/** Steps of a path like `/address/"zip code"`. */
export const pathSteps = (path: string): string[] =>
  path
    .slice(1)
    .split('/')
    .map((step) => (/^".*"$/.test(step) ? step.slice(1, -1) : step))

const component = (value: Json | undefined): PartitionKeyComponent => {
  if (value === null || typeof value !== 'object') return value
  if (isJsonObject(value) && Object.keys(value).length === 0) return undefined
  throw badRequest('The partition key supplied is not a string, a number, a boolean or null.')
}

const stepsOfDefinitions = new WeakMap<PartitionKeyDefinition, string[][]>()

const stepsOf = (definition: PartitionKeyDefinition): string[][] => {
  const known = stepsOfDefinitions.get(definition)
  if (known !== undefined) return known
  const steps = definition.paths.map(pathSteps)
  stepsOfDefinitions.set(definition, steps)
  return steps
}

/** The item's own key; throws 400 when a component is an array or a non-empty object. */
export const partitionKeyOf = (definition: PartitionKeyDefinition, item: JsonObject): PartitionKeyComponent[] =>
  stepsOf(definition).map((steps) => {
    let value: Json | undefined = item
    for (const step of steps) value = isJsonObject(value) && Object.hasOwn(value, step) ? value[step] : undefined
    return component(value)
  })

/** Whether the item's own key is this one; throws like `partitionKeyOf`. Keys compare as their components do: all scalars. */
export const hasPartitionKey = (
  definition: PartitionKeyDefinition,
  item: JsonObject,
  key: readonly PartitionKeyComponent[],
): boolean => partitionKeyOf(definition, item).every((value, level) => value === key[level])

/** Reads `x-ms-documentdb-partitionkey` (a JSON array; `{}` stands for none). */
export const parsePartitionKey = (text: string): PartitionKeyComponent[] => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw badRequest(`The partition key header is not JSON: ${text.slice(0, 100)}`)
  }
  if (!Array.isArray(value)) throw badRequest('The partition key header is not a JSON array.')
  return (value as Json[]).map(component)
}

// One line per component: JSON text never contains a raw newline, so a prefix of components is a prefix of the text, and
// no component can run into the next.
const line = (value: PartitionKeyComponent): string =>
  value === undefined ? 'undefined\n' : `${JSON.stringify(value)}\n`

/** The key as stored: comparable for equality, and by text prefix for a prefix of a hierarchical key. */
export const encodePartitionKey = (components: readonly PartitionKeyComponent[]): string =>
  components.map(line).join('')

export const decodePartitionKey = (encoded: string): PartitionKeyComponent[] =>
  encoded
    .split('\n')
    .slice(0, -1)
    .map((text) => (text === 'undefined' ? undefined : (JSON.parse(text) as PartitionKeyComponent)))

/** The first text after every key that starts with `prefix` (which ends with a newline). */
export const afterPrefix = (prefix: string): string => `${prefix.slice(0, -1)}\u000B`
