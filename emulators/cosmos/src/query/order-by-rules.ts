import { badRequest } from '../cosmos-error.ts'
import { isJsonObject, type Json } from '../json.ts'
import type { Expression } from '../sql/syntax.ts'
import type { ContainerDefinition } from '../store/container-definition.ts'
import type { Path } from '../store/path-indexes.ts'

const textOf = (path: Path): string => `/${path.join('/')}`

const bare = (path: string): string => path.replaceAll('"', '').replace(/\/[?*]$/, '')

const listed = (paths: Json | undefined): string[] =>
  Array.isArray(paths)
    ? paths.flatMap((entry) => (isJsonObject(entry) && typeof entry['path'] === 'string' ? [entry['path']] : []))
    : []

/** Length of the longest listed path that covers `path`; -1 when none does. The most precise path wins, as in the service. */
const precision = (paths: string[], path: string): number =>
  Math.max(
    -1,
    ...paths
      .filter((entry) => (entry.endsWith('/*') ? `${path}/`.startsWith(`${bare(entry)}/`) : bare(entry) === path))
      .map((entry) => entry.length),
  )

/** Whether the policy names the path itself, which makes ORDER BY return items without it as well. */
export const namesPath = (definition: ContainerDefinition, path: Path): boolean =>
  listed(definition.indexingPolicy['includedPaths']).some(
    (entry) => entry.endsWith('/?') && bare(entry) === textOf(path),
  )

/**
 * The service answers ORDER BY from an index only: 400 when the path is excluded from indexing, or when several properties
 * have no composite index in just this order (or the exact opposite).
 */
export const checkOrderBy = (definition: ContainerDefinition, order: { path: Path; descending: boolean }[]): void => {
  const policy = definition.indexingPolicy
  if (order.length === 1 && order[0] !== undefined) {
    const path = textOf(order[0].path)
    const excluded = precision(listed(policy['excludedPaths']), path)
    if (policy['indexingMode'] === 'none' || excluded > precision(listed(policy['includedPaths']), path))
      throw badRequest(
        'The order-by item is not served: order-by item requires a range index to be defined on the corresponding index path.',
      )
  }
  if (order.length < 2) return
  const serves = (flip: boolean): boolean =>
    (policy.compositeIndexes ?? []).some(
      (index) =>
        index.length === order.length &&
        index.every(({ path, order: direction }, i) => {
          const wanted = order[i]
          return (
            wanted !== undefined &&
            bare(path) === textOf(wanted.path) &&
            ((direction === 'descending') !== flip) === wanted.descending
          )
        }),
    )
  if (!serves(false) && !serves(true))
    throw badRequest('The order by query does not have a corresponding composite index that it can be served from.')
}

export const unsupportedOrderBy = (expression: Expression): Error =>
  badRequest(
    `Unsupported ORDER BY clause. ORDER BY item expression could not be mapped to a document path (it is a ${expression.type}).`,
  )
