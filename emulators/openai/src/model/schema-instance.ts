import { isObject, listOf, numberOf, objectOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import type { Draws } from './seeded-draw.ts'
import { stringInstance } from './string-instance.ts'

export interface InstanceHints {
  draws: Draws
  /** Words to build strings from. */
  subjects: readonly string[]
  /** Placed in the property called answer, result or value, else in the first free string. */
  answer?: string | undefined
}

interface Context extends InstanceHints {
  root: Json
  answerLeft: string | undefined
  /** Values that may still be built: a recursive schema with two children a node would else double at every level. */
  valuesLeft: number
}

const maxDepth = 12
const maxValues = 5_000
const maxItems = 1_000

function resolveReference(schema: Json, root: Json): Json {
  let resolved = schema
  // A reference may lead to another; a ring of them leads nowhere.
  for (let hops = 0; hops < 16; hops++) {
    const reference = textOf(resolved['$ref'])
    if (reference === undefined || !reference.startsWith('#')) return resolved
    let target: unknown = root
    for (const step of reference.slice(1).split('/').filter(Boolean)) {
      target = objectOf(target)[step.replaceAll('%25', '%').replaceAll('~1', '/').replaceAll('~0', '~')]
    }
    resolved = objectOf(target)
  }
  return {}
}

function mergeAll(schema: Json): Json {
  const merged: Json = { ...schema }
  for (const part of listOf(schema['allOf'])) {
    if (!isObject(part)) continue
    const properties = { ...objectOf(merged['properties']), ...objectOf(part['properties']) }
    const required = [...listOf(merged['required']), ...listOf(part['required'])]
    Object.assign(merged, part, { properties, required })
  }
  delete merged['allOf']
  return merged
}

function numberInstance(schema: Json, draws: Draws, integer: boolean): number {
  const multiple = numberOf(schema['multipleOf']) ?? 0
  const step = multiple > 0 ? multiple : integer ? 1 : 0.5
  const above = numberOf(schema['exclusiveMinimum'])
  const below = numberOf(schema['exclusiveMaximum'])
  const low = Math.max(numberOf(schema['minimum']) ?? -Infinity, above === undefined ? -Infinity : above + step / 1e3)
  const high = Math.min(numberOf(schema['maximum']) ?? Infinity, below === undefined ? Infinity : below - step / 1e3)
  const from = Number.isFinite(low) ? low : Number.isFinite(high) ? high - 100 * step : 1
  const to = Number.isFinite(high) ? high : from + 100 * step
  const first = Math.ceil(from / step)
  const last = Math.floor(to / step)
  // A range narrower than a step holds no multiple: for a plain number, its middle is still valid.
  if (first > last) return integer ? Math.round(from) : (from + to) / 2
  return Number((draws.between(first, last) * step).toPrecision(15))
}

function arrayInstance(schema: Json, context: Context, depth: number): unknown[] {
  const prefix = listOf(schema['prefixItems']).map((item) => build(item, context, depth + 1))
  const least = Math.min(numberOf(schema['minItems']) ?? 0, maxItems)
  const most = numberOf(schema['maxItems']) ?? Math.max(least, 3)
  const wanted = depth > maxDepth ? least : Math.max(least, Math.min(most, context.draws.between(1, 3)))
  const items = [...prefix]
  const seen = new Set<string>()
  for (let tries = 0; items.length < wanted && tries < wanted * 20 && context.valuesLeft > 0; tries++) {
    const item = build(schema['items'] ?? {}, context, depth + 1)
    const key = JSON.stringify(item)
    if (schema['uniqueItems'] === true && seen.has(key)) continue
    seen.add(key)
    items.push(item)
  }
  return items
}

const answerName = /^(final_?)?(answer|result|value)$/i

function objectInstance(schema: Json, context: Context, depth: number): Json {
  const properties = objectOf(schema['properties'])
  const required = new Set(listOf(schema['required']))
  const result: Json = {}
  const named = Object.keys(properties).find((name) => answerName.test(name))
  const held = context.answerLeft
  if (named !== undefined) context.answerLeft = undefined
  for (const [name, property] of Object.entries(properties)) {
    // Past the depth limit only what is required is built, so that recursive schemas end.
    if ((depth > maxDepth || context.valuesLeft <= 0) && !required.has(name)) continue
    if (name === named) context.answerLeft = held
    result[name] = build(property, context, depth + 1)
    if (name === named) context.answerLeft = undefined
  }
  for (const name of required) {
    if (typeof name === 'string' && !(name in result)) result[name] = build({}, context, depth + 1)
  }
  return result
}

function answerAs(type: unknown, context: Context): unknown {
  const answer = context.answerLeft
  if (answer === undefined) return undefined
  const number = Number(answer)
  const fits =
    type === 'string' ||
    ((type === 'number' || (type === 'integer' && Number.isInteger(number))) && Number.isFinite(number))
  if (!fits) return undefined
  context.answerLeft = undefined
  return type === 'string' ? answer : number
}

function build(value: unknown, context: Context, depth: number): unknown {
  if (!isObject(value)) return value === false ? null : 'value'
  if (depth > maxDepth * 4) return null
  context.valuesLeft--
  const schema = mergeAll(resolveReference(value, context.root))
  if ('const' in schema) return schema['const']
  const choices = listOf(schema['enum'])
  if (choices.length > 0) {
    const stated = choices.find((choice) => choice === context.answerLeft)
    return stated ?? choices[context.draws.between(0, choices.length - 1)]
  }
  const branches = listOf(schema['anyOf'] ?? schema['oneOf'])
  if (branches.length > 0) {
    // A recursive branch ends in null where the schema offers it.
    const end = branches.find((branch) => objectOf(branch)['type'] === 'null')
    const branch =
      (depth > maxDepth || context.valuesLeft <= 0) && end !== undefined
        ? end
        : branches[context.draws.between(0, branches.length - 1)]
    const { anyOf: _anyOf, oneOf: _oneOf, ...rest } = schema
    return build({ ...rest, ...resolveReference(objectOf(branch), context.root) }, context, depth + 1)
  }
  const types = listOf(schema['type'])
  const type = types.find((entry) => entry !== 'null') ?? schema['type'] ?? (schema['properties'] ? 'object' : 'string')
  const constrained = ['pattern', 'format', 'maxLength', 'minimum', 'maximum'].some((keyword) => keyword in schema)
  const stated = constrained ? undefined : answerAs(type, context)
  if (stated !== undefined) return stated
  // No finite instance exists past here; what is built so far ends the recursion.
  const exhausted = depth > maxDepth * 2 || context.valuesLeft <= 0
  if (type === 'object') return exhausted ? {} : objectInstance(schema, context, depth)
  if (type === 'array') return exhausted ? [] : arrayInstance(schema, context, depth)
  if (type === 'integer' || type === 'number') return numberInstance(schema, context.draws, type === 'integer')
  if (type === 'boolean') return context.draws.next() < 0.5
  if (type === 'null') return null
  return stringInstance(schema, context)
}

/**
 * A value that is valid for a JSON schema: the keywords that structured outputs support, plus $ref, allOf and string
 * formats. Keywords that only forbid (not, if/then) are not looked at.
 */
export function instanceOf(schema: Json, hints: InstanceHints): unknown {
  return build(schema, { ...hints, root: schema, answerLeft: hints.answer, valuesLeft: maxValues }, 0)
}
