import { badRequest } from '../cosmos-error.ts'
import { isJsonObject, type Json, type JsonObject } from '../json.ts'

export interface PatchOperation {
  op: 'add' | 'set' | 'replace' | 'remove' | 'incr' | 'move'
  path: string[]
  from: string[]
  value: Json | undefined
}

const operations = new Set(['add', 'set', 'replace', 'remove', 'incr', 'move'])
const maxOperations = 10
const systemProperties = new Set(['id', '_rid', '_self', '_etag', '_ts', '_attachments'])

const pointer = (path: Json | undefined, what: string): string[] => {
  if (typeof path !== 'string' || !path.startsWith('/') || path === '/')
    throw badRequest(`The patch ${what} ${JSON.stringify(path)} is invalid.`)
  return path
    .slice(1)
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
}

const readOperation = (value: Json): PatchOperation => {
  const op = isJsonObject(value) ? value['op'] : undefined
  if (!isJsonObject(value) || typeof op !== 'string' || !operations.has(op.toLowerCase()))
    throw badRequest(`Unsupported patch operation type ${JSON.stringify(op)}.`)
  const kind = op.toLowerCase() as PatchOperation['op']
  const path = pointer(value['path'], 'path')
  const from = kind === 'move' ? pointer(value['from'], 'from') : []
  if (kind !== 'remove' && kind !== 'move' && value['value'] === undefined)
    throw badRequest(`The patch operation ${kind} needs a value.`)
  if (kind === 'incr' && typeof value['value'] !== 'number')
    throw badRequest('The value of a patch increment is not a number.')
  for (const target of kind === 'move' ? [path, from] : [path])
    if (systemProperties.has(target[0] ?? ''))
      throw badRequest(`The system property /${target.join('/')} cannot be patched.`)
  return { op: kind, path, from, value: value['value'] }
}

/** Reads a patch body: an array of operations, or `{ operations, condition? }`. Throws 400. */
export const readPatch = (body: Json): { operations: PatchOperation[]; condition: string | undefined } => {
  const list = isJsonObject(body) ? body['operations'] : body
  const condition = isJsonObject(body) ? body['condition'] : undefined
  if (!Array.isArray(list) || list.length === 0) throw badRequest('The patch has no operations.')
  if (list.length > maxOperations)
    throw badRequest(`The number of patch operations is over the limit of ${maxOperations}.`)
  if (condition !== undefined && condition !== null && typeof condition !== 'string')
    throw badRequest('The patch condition is not a string.')
  return { operations: list.map(readOperation), condition: condition ?? undefined }
}

type Target = { holder: JsonObject; key: string } | { holder: Json[]; index: number }

const elementIndex = (step: string, array: Json[], path: string[]): number => {
  if (step === '-') return array.length
  const index = /^\d+$/.test(step) ? Number(step) : -1
  if (index < 0 || index > array.length) throw badRequest(`The patch path /${path.join('/')} is outside its array.`)
  return index
}

const locate = (document: JsonObject, path: string[]): Target => {
  let holder: Json | undefined = document
  for (const step of path.slice(0, -1)) {
    if (Array.isArray(holder)) holder = holder[elementIndex(step, holder, path)]
    else holder = isJsonObject(holder) && Object.hasOwn(holder, step) ? holder[step] : undefined
  }
  const last = path.at(-1) ?? ''
  if (Array.isArray(holder)) return { holder, index: elementIndex(last, holder, path) }
  if (isJsonObject(holder)) return { holder, key: last }
  throw badRequest(`The patch path /${path.join('/')} has no parent in the item.`)
}

const read = (target: Target): Json | undefined => {
  if ('index' in target) return target.holder[target.index]
  return Object.hasOwn(target.holder, target.key) ? target.holder[target.key] : undefined
}

// defineProperty: assigning to a key named __proto__ would change the prototype instead.
const write = (target: Target, value: Json): void => {
  if ('index' in target) target.holder[target.index] = value
  else Object.defineProperty(target.holder, target.key, { value, writable: true, enumerable: true, configurable: true })
}

const existing = (target: Target, { op, path }: PatchOperation): Json => {
  const value = read(target)
  if (value === undefined) throw badRequest(`For ${op}, the target path /${path.join('/')} does not exist in the item.`)
  return value
}

const remove = (target: Target): void => {
  if ('index' in target) target.holder.splice(target.index, 1)
  else delete target.holder[target.key]
}

const add = (target: Target, value: Json): void => {
  if ('index' in target) target.holder.splice(target.index, 0, value)
  else write(target, value)
}

const increment = (target: Target, operation: PatchOperation): void => {
  const current = read(target) ?? 0
  if (typeof current !== 'number')
    throw badRequest(`The patch increment's target /${operation.path.join('/')} is not a number.`)
  write(target, current + (operation.value as number))
}

/** Applies the operations in order, in place. Throws 400 when one cannot be applied; the caller then drops the item. */
export const applyPatch = (document: JsonObject, patch: readonly PatchOperation[]): void => {
  for (const operation of patch) {
    const target = locate(document, operation.path)
    const value = operation.value ?? null
    switch (operation.op) {
      case 'add':
        add(target, value)
        break
      case 'set':
        // Documented: on an array element set updates, and appends at the end.
        write(target, value)
        break
      case 'replace':
        existing(target, operation)
        write(target, value)
        break
      case 'remove':
        existing(target, operation)
        remove(target)
        break
      case 'incr':
        increment(target, operation)
        break
      case 'move': {
        const source = locate(document, operation.from)
        const moved = existing(source, { ...operation, path: operation.from })
        remove(source)
        add(locate(document, operation.path), moved)
        break
      }
    }
  }
}
