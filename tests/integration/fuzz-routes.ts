/** A JSON Schema as far as the generator looks at it. */
interface Schema {
  type?: string | string[]
  enum?: unknown[]
  const?: unknown
  anyOf?: Schema[]
  oneOf?: Schema[]
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  minItems?: number
  minimum?: number
  format?: string
  pattern?: string
}
interface Operation {
  parameters: { name: string; in: string; schema: Schema }[]
  requestBody?: { content: Record<string, { schema?: Schema }> }
}
interface Document {
  paths: Record<string, Record<string, Operation>>
}

export interface FuzzOptions {
  url: string
  key: string
  seed: number
  /** Requests of each operation. */
  rounds: number
  /** Ids that go into paths, those of another tenant among them. */
  ids: readonly string[]
  /** Texts that are another tenant's: none may be in an answer. */
  secrets: readonly string[]
  timeoutMs: number
  skip?: (method: string, path: string) => boolean
}
export interface Finding {
  what: 'internal error' | 'no answer' | 'leak' | 'no OpenAI error'
  request: string
  detail: string
}

/** Calls every route of the OpenAPI document with what its schemas allow, mutated. The same seed gives the same requests. */
export async function fuzzRoutes(options: FuzzOptions): Promise<{ requests: number; findings: Finding[] }> {
  const document = (await (await fetch(`${options.url}/openapi.json`)).json()) as Document
  const random = seeded(options.seed)
  const calls = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => options.skip?.(method, path) !== true)
      .flatMap(([method, operation]) =>
        Array.from({ length: options.rounds }, () => callOf(random, options, path, method.toUpperCase(), operation)),
      ),
  )
  const findings: Finding[] = []
  let next = 0
  const work = async () => {
    for (let call = calls[next++]; call !== undefined; call = calls[next++]) {
      const finding = await judge(options, call)
      if (finding !== undefined) findings.push(finding)
    }
  }
  await Promise.all(Array.from({ length: 8 }, work))
  return { requests: calls.length, findings }
}

interface Call {
  method: string
  target: string
  headers: Record<string, string>
  body: string | Buffer | undefined
}

async function judge(options: FuzzOptions, { method, target, headers, body }: Call): Promise<Finding | undefined> {
  const request = `${method} ${target} ${JSON.stringify(headers)} ${String(body ?? '').slice(0, 400)}`
  const gone = new AbortController()
  const timer = setTimeout(() => gone.abort(), options.timeoutMs)
  try {
    const init = { method, headers, signal: gone.signal, ...(body === undefined ? {} : { body }) }
    const answer = await fetch(`${options.url}${target}`, init)
    const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream') === true
    const text = isStream ? await firstChunk(answer) : await answer.text()
    const leaked = options.secrets.find((secret) => text.includes(secret))
    if (leaked !== undefined) return { what: 'leak', request, detail: text.slice(0, 500) }
    if (answer.status === 500) return { what: 'internal error', request, detail: text.slice(0, 500) }
    if (answer.status >= 400 && method !== 'HEAD' && !isError(text)) {
      return { what: 'no OpenAI error', request, detail: `${answer.status} ${text.slice(0, 300)}` }
    }
    return undefined
  } catch (error) {
    return { what: 'no answer', request, detail: String(error) }
  } finally {
    clearTimeout(timer)
    gone.abort()
  }
}

async function firstChunk(answer: Response): Promise<string> {
  const reader = answer.body?.getReader()
  const { value } = (await reader?.read()) ?? {}
  await reader?.cancel()
  return Buffer.from(value ?? []).toString('utf8')
}

function isError(text: string): boolean {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown; type?: unknown; param?: unknown } }
    return typeof error?.message === 'string' && typeof error.type === 'string' && 'param' in error
  } catch {
    return false
  }
}

type Random = () => number
const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)] as T

function callOf(random: Random, { key, ids }: FuzzOptions, path: string, method: string, operation: Operation): Call {
  const target = path.replace(/\{\w+\}/g, () =>
    encodeURIComponent(random() < 0.7 ? pick(random, ids) : odd(random).toWellFormed()),
  )
  const query = new URLSearchParams()
  const headers: Record<string, string> = { authorization: `Bearer ${key}` }
  for (const { name, in: place, schema } of operation.parameters) {
    if (place === 'path' || random() < 0.4) continue
    const value = random() < 0.5 ? String(valueOf(random, schema)) : odd(random)
    if (place === 'query') query.set(name, value)
    // fetch itself refuses what cannot be a header.
    else headers[name] = value.replace(/[^\x20-\x7e]/g, '').trim()
  }
  // A long poll would be a wait that was asked for.
  if (query.has('wait')) query.set('wait', pick(random, ['0', '1', '-1', 'x', '1e9']))
  const suffix = query.size === 0 ? '' : `?${query.toString()}`
  return { method, target: `${target}${suffix}`, headers, body: bodyOf(random, operation, method, headers) }
}

function bodyOf(random: Random, { requestBody }: Operation, method: string, headers: Record<string, string>) {
  if (method === 'GET' || method === 'HEAD') return undefined
  const types = Object.entries(requestBody?.content ?? {})
  if (types.length === 0) return undefined
  const [type, { schema }] = pick(random, types)
  headers['content-type'] =
    random() < 0.9 ? type : pick(random, ['text/plain', 'application/xml', 'x', 'multipart/form-data; boundary=b'])
  if (schema === undefined) return pick(random, ['{}\n[]\nnull\n', odd(random), '', '{"custom_id":"x"}\n'])
  const value = valueOf(random, schema)
  const mutated = random() < 0.75 ? mutate(random, value) : value
  const text = JSON.stringify(mutated) ?? ''
  return random() < 0.1 ? text.slice(0, Math.floor(random() * text.length)) : text
}

function valueOf(random: Random, schema: Schema, depth = 0): unknown {
  if (schema.const !== undefined) return schema.const
  if (schema.enum !== undefined) return pick(random, schema.enum)
  const union = schema.anyOf ?? schema.oneOf
  if (union !== undefined) return valueOf(random, pick(random, union), depth)
  const type = Array.isArray(schema.type) ? pick(random, schema.type) : schema.type
  switch (type) {
    case 'string':
      return schema.format === 'date-time'
        ? '2026-11-21T09:00:00Z'
        : pick(random, ['local', 'a', 'auto', 'https://example.com/x'])
    case 'integer':
    case 'number':
      return schema.minimum ?? Math.floor(random() * 5)
    case 'boolean':
      return random() < 0.5
    case 'array':
      return Array.from({ length: Math.max(schema.minItems ?? 0, 1) }, () =>
        valueOf(random, schema.items ?? {}, depth + 1),
      )
    case 'object':
      return Object.fromEntries(
        Object.entries(schema.properties ?? {})
          .filter(([name]) => schema.required?.includes(name) === true || (depth < 4 && random() < 0.5))
          .map(([name, property]) => [name, valueOf(random, property, depth + 1)]),
      )
    default:
      return pick(random, [null, 'x', 1, {}, []])
  }
}

/** Replaces, drops or adds something somewhere. */
function mutate(random: Random, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || random() < 0.15) return oddValue(random)
  const copy: Record<string, unknown> = { ...(value as Record<string, unknown>) }
  const name = pick(random, [...Object.keys(copy), 'extra', 'constructor', 'toString'])
  if (random() < 0.2) delete copy[name]
  else copy[name] = mutate(random, copy[name])
  return Array.isArray(value) ? Object.values(copy) : copy
}

const oddValue = (random: Random): unknown =>
  pick(random, [null, -1, 1e308, 0.5, '', true, [], {}, [[[[[]]]]], { a: { b: { c: {} } } }, odd(random)])

const odd = (random: Random): string =>
  pick(random, [
    ...['', '0', '-1', 'NaN', 'null', '../../etc/passwd', '%2e%2e%2f', '%', "' OR 1=1 --", '"};', '\u0000', '\ud800'],
    ...[
      '__proto__',
      'constructor',
      'x'.repeat(300),
      'ünïcödé 💥',
      '1'.repeat(40),
      'key_',
      'req_',
      '2026-02-30T25:61:00Z',
    ],
  ])

/** mulberry32: small, and the same numbers for the same seed on every machine. */
function seeded(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
