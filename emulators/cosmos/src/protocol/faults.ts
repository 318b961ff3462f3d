import { badRequest } from '../cosmos-error.ts'
import { isJsonObject, type Json, type JsonObject } from '../json.ts'

/**
 * - `delay`: handle the request after `delayMs`.
 * - `drop`: destroy the connection, before handling it (`phase` request) or after (`response`: the outcome is unknown to the client).
 * - `throttle`: 429 with `retryAfterMs`. `unavailable`: 503.
 * - `refuse`: new connections are closed at once, for `durationMs`, and open ones dropped.
 */
export interface Fault {
  type: 'delay' | 'drop' | 'throttle' | 'unavailable' | 'refuse'
  /** Only requests of this method, and only those whose path contains this text. */
  method?: string
  path?: string
  /** How many requests it hits; without it, all until deleted. */
  count?: number
  delayMs?: number
  retryAfterMs?: number
  durationMs?: number
  phase?: 'request' | 'response'
}

const faultTypes = ['delay', 'drop', 'throttle', 'unavailable', 'refuse'] as const
const maxFaults = 1000

const text = (value: JsonObject, name: string): string | undefined => {
  const field = value[name]
  if (field === undefined) return undefined
  if (typeof field !== 'string') throw badRequest(`The fault's ${name} is not a string.`)
  return field
}

const amount = (value: JsonObject, name: string): number | undefined => {
  const field = value[name]
  if (field === undefined) return undefined
  if (typeof field !== 'number' || !(field >= 0) || field > 2_147_483_647)
    throw badRequest(`The fault's ${name} is not a non-negative number.`)
  return field
}

/** A fault in the words that all emulators share (see emulators/README.md) as one of this emulator's own. */
const ownWords = (value: JsonObject): JsonObject => {
  const { kind, ...fields } = value
  switch (kind) {
    case undefined:
      return value
    case 'drop-connections':
      return { type: 'refuse', durationMs: 0 }
    case 'refuse':
      return { ...fields, type: 'unavailable' }
    case 'delay':
      if (fields['delayMs'] === undefined) throw badRequest('A delay needs delayMs.')
      return { ...fields, type: 'delay' }
    case 'throttle':
      return { ...fields, type: 'throttle' }
    case 'lose-locks':
      throw badRequest('There are no locks to lose in Cosmos DB.')
    default:
      throw badRequest("A fault's kind is drop-connections, refuse, delay or throttle.")
  }
}

const readFault = (given: Json): Fault => {
  if (!isJsonObject(given)) throw badRequest('A fault is not an object.')
  const value = ownWords(given)
  const type = faultTypes.find((kind) => kind === value['type'])
  if (type === undefined) throw badRequest(`A fault's type is one of ${faultTypes.join(', ')}.`)
  const phase = text(value, 'phase')
  if (phase !== undefined && phase !== 'request' && phase !== 'response')
    throw badRequest("A fault's phase is request or response.")
  const durationMs = amount(value, 'durationMs')
  if (type === 'refuse' && durationMs === undefined)
    throw badRequest('A refuse fault needs durationMs: the control API shares the port.')
  const fields = {
    method: text(value, 'method')?.toUpperCase(),
    path: text(value, 'path'),
    count: amount(value, 'count'),
    delayMs: amount(value, 'delayMs'),
    retryAfterMs: amount(value, 'retryAfterMs'),
    durationMs,
    phase,
  }
  return { type, ...Object.fromEntries(Object.entries(fields).filter(([, field]) => field !== undefined)) }
}

/** Reads `{ "faults": [ … ] }`, an array, or one fault. Throws 400. */
export const readFaults = (body: unknown): Fault[] => {
  const list = Array.isArray(body)
    ? (body as Json[])
    : isJsonObject(body)
      ? Array.isArray(body['faults'])
        ? body['faults']
        : [body]
      : undefined
  if (list === undefined || list.length > maxFaults) throw badRequest('Faults are an array of objects.')
  return list.map(readFault)
}

/** The faults in force. The first that matches a request takes it. */
export class FaultPlan {
  #faults: Fault[] = []

  get all(): readonly Fault[] {
    return this.#faults
  }

  add(faults: readonly Fault[]): void {
    this.#faults.push(...faults)
  }

  clear(): void {
    this.#faults = []
  }

  take(method: string, path: string): Fault | undefined {
    if (this.#faults.length === 0) return undefined
    const fault = this.#faults.find(
      (candidate) => (candidate.method ?? method) === method && path.includes(candidate.path ?? ''),
    )
    if (fault?.count !== undefined) {
      fault.count -= 1
      if (fault.count <= 0) this.#faults = this.#faults.filter((other) => other !== fault)
    }
    return fault
  }
}
