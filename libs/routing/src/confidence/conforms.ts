// A caller's schema is not to be trusted: validators that generate code from it, or that run its patterns, give every
// tenant a way to stop a worker. This one interprets what structured outputs support, in a bounded number of steps, and
// takes what it does not know (patterns, formats, conditions) as fulfilled.
// https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
const mostSteps = 20_000
const deepest = 64

interface Walk {
  root: unknown
  steps: number
}

/** Whether a JSON value fulfils a JSON Schema, as far as structured outputs go; too large a question is answered with yes. */
export function conforms(value: unknown, schema: unknown): boolean {
  return check(value, schema, { root: schema, steps: 0 }, 0)
}

function check(value: unknown, schema: unknown, walk: Walk, depth: number): boolean {
  if (schema === false) return false
  if (!isObject(schema) || depth > deepest || ++walk.steps > mostSteps) return true
  const inner = (item: unknown, rule: unknown) => check(item, rule, walk, depth + 1)
  if (typeof schema.$ref === 'string' && !inner(value, resolve(schema.$ref, walk.root))) return false
  if (schema.type !== undefined && ![schema.type].flat().some((type) => isOfType(value, type))) return false
  if (Array.isArray(schema.enum) && !schema.enum.some((option) => same(option, value))) return false
  if ('const' in schema && !same(schema.const, value)) return false
  if (Array.isArray(schema.anyOf) && !schema.anyOf.some((option) => inner(value, option))) return false
  if (Array.isArray(schema.oneOf) && !schema.oneOf.some((option) => inner(value, option))) return false
  if (Array.isArray(schema.allOf) && !schema.allOf.every((option) => inner(value, option))) return false
  if (typeof value === 'number') return within(value, schema)
  if (typeof value === 'string') return hasLength(value.length, schema.minLength, schema.maxLength)
  if (Array.isArray(value)) {
    if (!hasLength(value.length, schema.minItems, schema.maxItems)) return false
    return schema.items === undefined || value.every((item) => inner(item, schema.items))
  }
  return !isObject(value) || checkFields(value, schema, inner)
}

function checkFields(value: Json, schema: Json, inner: (item: unknown, rule: unknown) => boolean): boolean {
  const properties = isObject(schema.properties) ? schema.properties : {}
  const required: readonly unknown[] = Array.isArray(schema.required) ? schema.required : []
  if (!required.every((name) => typeof name !== 'string' || Object.hasOwn(value, name))) return false
  const { additionalProperties: others, patternProperties } = schema
  return Object.entries(value).every(([name, field]) => {
    if (Object.hasOwn(properties, name)) return inner(field, properties[name])
    return others === undefined || patternProperties !== undefined || inner(field, others)
  })
}

function resolve(reference: string, root: unknown): unknown {
  if (!reference.startsWith('#')) return true
  let found: unknown = root
  for (const step of reference.slice(1).split('/').filter(Boolean)) {
    const name = step.replaceAll('~1', '/').replaceAll('~0', '~')
    found = isObject(found) && Object.hasOwn(found, name) ? found[name] : undefined
  }
  return found
}

function isOfType(value: unknown, type: unknown): boolean {
  switch (type) {
    case 'null':
      return value === null
    case 'array':
      return Array.isArray(value)
    case 'object':
      return isObject(value)
    case 'integer':
      return Number.isInteger(value)
    case 'string':
    case 'number':
    case 'boolean':
      return typeof value === type
    default:
      return true
  }
}

function within(value: number, { minimum, maximum, exclusiveMinimum, exclusiveMaximum }: Json): boolean {
  if (typeof minimum === 'number' && value < minimum) return false
  if (typeof maximum === 'number' && value > maximum) return false
  if (typeof exclusiveMinimum === 'number' && value <= exclusiveMinimum) return false
  return typeof exclusiveMaximum !== 'number' || value < exclusiveMaximum
}

const hasLength = (length: number, min: unknown, max: unknown): boolean =>
  (typeof min !== 'number' || length >= min) && (typeof max !== 'number' || length <= max)

type Json = Record<string, unknown>
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const same = (a: unknown, b: unknown): boolean =>
  a === b || (typeof a === 'object' && typeof b === 'object' && JSON.stringify(a) === JSON.stringify(b))
