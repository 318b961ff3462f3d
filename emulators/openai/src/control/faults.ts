import { isObject, numberOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { Draws } from '../model/seeded-draw.ts'

const operations = [
  'chat',
  'completions',
  'responses',
  'embeddings',
  'transcriptions',
  'speech',
  'models',
  'files',
  'batches',
  'batch_line',
  'realtime',
  'client_secrets',
] as const
export type Operation = (typeof operations)[number]

const faultTypes = ['status', 'delay', 'hang', 'drop', 'slow', 'outage', 'cut'] as const

/** One fault: what it does, to which calls, how often. Absent selectors match everything. A `cut` is over at once. */
export interface Fault {
  id: string
  type: (typeof faultTypes)[number]
  resource?: string
  deployment?: string
  operation?: Operation
  /** How many calls it still hits; without it, it stays until it is cleared. */
  count?: number
  /** Share of the matching calls that it hits; 1 without it. */
  probability?: number
  /** Matching calls that pass first. */
  skip?: number
  /** status: the answer's status, body (Azure's own without it) and headers. */
  status?: number
  body?: unknown
  headers?: Record<string, string>
  retry_after_ms?: number
  /** delay: real milliseconds before the call goes on. */
  ms?: number
  /** drop: where the connection is cut. outage: what callers of the region see. */
  at?: 'headers' | 'body' | 'stream'
  mode?: 'drop' | 'hang' | '503'
  /** drop in a stream: events that arrive first. */
  after_events?: number
  /** slow: bytes per second of the answer. */
  bytes_per_second?: number
}

const oneOf = <T extends string>(value: unknown, allowed: readonly T[], field: string): T => {
  const found = allowed.find((option) => option === value)
  if (found === undefined) throw new TypeError(`${field} must be one of ${allowed.join(', ')}`)
  return found
}

const range = (input: Json, field: keyof Fault, low: number, high: number): number | undefined => {
  const value = input[field]
  if (value === undefined) return undefined
  const number = numberOf(value)
  if (number === undefined || number < low || number > high) {
    throw new TypeError(`${field} must be a number between ${low} and ${high}`)
  }
  return number
}

const headersOf = (value: unknown): Record<string, string> | undefined => {
  if (value === undefined) return undefined
  if (!isObject(value)) throw new TypeError('headers must be an object')
  return Object.fromEntries(Object.entries(value).map(([name, text]) => [name, String(text)]))
}

const known =
  'id,type,resource,deployment,operation,count,probability,skip,status,body,headers,retry_after_ms,ms,at,mode,after_events,bytes_per_second'.split(
    ',',
  )

const unavailable = 503
const tooMany = 429

/** A fault in the words that all emulators share (see emulators/README.md) as one of the twin's own. */
function ownWords(value: Json): Json {
  const { kind, delayMs, retryAfterMs, ...fields } = value
  switch (kind) {
    case undefined:
      return value
    case 'drop-connections':
      return { ...fields, type: 'cut' }
    case 'refuse':
      return { ...fields, type: 'status', status: unavailable }
    case 'throttle':
      return { ...fields, type: 'status', status: tooMany, retry_after_ms: retryAfterMs }
    case 'delay':
      if (delayMs === undefined) throw new TypeError('a delay needs delayMs')
      return { ...fields, type: 'delay', ms: delayMs }
    case 'lose-locks':
      throw new TypeError('there are no locks to lose in Azure OpenAI')
    default:
      throw new TypeError('kind must be drop-connections, refuse, delay or throttle')
  }
}

/** @throws TypeError that names the field that is wrong. */
export function parseFault(given: unknown, id: string): Fault {
  if (!isObject(given)) throw new TypeError('a fault must be an object')
  const value = ownWords(given)
  const unknown = Object.keys(value).find((field) => !known.includes(field))
  if (unknown !== undefined) throw new TypeError(`unknown field ${unknown}, expected ${known.join(', ')}`)
  const type = oneOf(value['type'], faultTypes, 'type')
  const optional = {
    resource: textOf(value['resource']),
    deployment: textOf(value['deployment']),
    operation: value['operation'] === undefined ? undefined : oneOf(value['operation'], operations, 'operation'),
    count: range(value, 'count', 1, 1e9),
    probability: range(value, 'probability', 0, 1),
    skip: range(value, 'skip', 0, 1e9),
    status: range(value, 'status', 400, 599),
    retry_after_ms: range(value, 'retry_after_ms', 0, 1e9),
    ms: range(value, 'ms', 0, 3_600_000),
    at: value['at'] === undefined ? undefined : oneOf(value['at'], ['headers', 'body', 'stream'], 'at'),
    mode: value['mode'] === undefined ? undefined : oneOf(value['mode'], ['drop', 'hang', '503'], 'mode'),
    after_events: range(value, 'after_events', 0, 1e9),
    bytes_per_second: range(value, 'bytes_per_second', 1, 1e12),
    body: value['body'],
    headers: headersOf(value['headers']),
  }
  if (type === 'status' && optional.status === undefined) throw new TypeError('a status fault needs a status')
  if (type === 'delay' && optional.ms === undefined) throw new TypeError('a delay fault needs ms')
  if (type === 'slow' && optional.bytes_per_second === undefined)
    throw new TypeError('a slow fault needs bytes_per_second')
  if (type === 'outage' && optional.resource === undefined) throw new TypeError('an outage needs a resource')
  const present = Object.fromEntries(Object.entries(optional).filter(([, field]) => field !== undefined))
  return { id: textOf(value['id']) ?? id, type, ...present }
}

/** The faults in force. Draws are seeded, so that a run with probabilities can be repeated. */
export class FaultList {
  #faults: Fault[] = []
  readonly #seed: number
  #draws: Draws
  #ids = 0

  constructor(seed: number) {
    this.#seed = seed
    this.#draws = new Draws(seed)
  }

  /** @throws TypeError when a fault is malformed; none is added then. */
  add(values: readonly unknown[]): Fault[] {
    const parsed = values.map((value, i) => parseFault(value, `fault-${this.#ids + i + 1}`))
    this.#ids += parsed.length
    this.#faults.push(...parsed.filter(({ type }) => type !== 'cut'))
    return parsed
  }

  list(): readonly Fault[] {
    return this.#faults
  }

  remove(id: string): boolean {
    const before = this.#faults.length
    this.#faults = this.#faults.filter((fault) => fault.id !== id)
    return this.#faults.length < before
  }

  clear(): void {
    this.#faults = []
    this.#draws = new Draws(this.#seed)
  }

  outageOf(resource: string): Fault | undefined {
    if (this.#faults.length === 0) return undefined
    return this.#faults.find((fault) => fault.type === 'outage' && fault.resource === resource)
  }

  /** The faults that hit this call; each hit is counted down. */
  hit(resource: string, deployment: string | undefined, operation: Operation): readonly Fault[] {
    if (this.#faults.length === 0) return none
    const hits: Fault[] = []
    for (const fault of this.#faults) {
      if (fault.type === 'outage') continue
      if (fault.resource !== undefined && fault.resource !== resource) continue
      if (fault.deployment !== undefined && fault.deployment !== deployment) continue
      if (fault.operation !== undefined && fault.operation !== operation) continue
      if (fault.skip !== undefined && fault.skip > 0) {
        fault.skip--
        continue
      }
      if (fault.probability !== undefined && this.#draws.next() >= fault.probability) continue
      if (fault.count !== undefined) fault.count--
      hits.push(fault)
    }
    this.#faults = this.#faults.filter((fault) => fault.count === undefined || fault.count > 0)
    return hits
  }
}

const none: readonly Fault[] = []
