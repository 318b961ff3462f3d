import { setTimeout as sleep } from 'node:timers/promises'

/** Where a fault strikes: the REST API, a client's negotiation, or the opening of its transport. */
export type FaultPoint = 'rest' | 'negotiate' | 'connect'

/** `times` is how often the fault strikes before it is used up (without it: until it is cleared), `hub` narrows it. */
type Scope = { at: FaultPoint; hub?: string; times?: number }

export type Fault =
  /** Answer late. */
  | (Scope & { type: 'delay'; delayMs: number })
  /** Cut the TCP connection instead of answering. */
  | (Scope & { type: 'refuse' })
  /** Answer 429 or 503. */
  | (Scope & { type: 'throttle'; status: 429 | 503; retryAfterSeconds?: number })

/** Cuts live client connections once, as a network failure would. Without a selector: all of them. */
export type Drop = { type: 'drop'; hub?: string; user?: string; connectionId?: string }

const maxFaults = 1_000
const maxDelayMs = 120_000

export class InvalidFaultError extends Error {
  override readonly name = 'InvalidFaultError'
}

export type Faults = ReturnType<typeof createFaults>

export function createFaults(closing: AbortSignal) {
  let active: Fault[] = []

  const strike = (fault: Fault): void => {
    if (fault.times === undefined) return
    fault.times--
    if (fault.times <= 0) active = active.filter((other) => other !== fault)
  }

  return {
    list: (): readonly Fault[] => active,
    add(faults: Fault[]): void {
      if (active.length + faults.length > maxFaults)
        throw new InvalidFaultError(`at most ${maxFaults} faults at a time`)
      active.push(...faults)
    },
    clear(): void {
      active = []
    },

    /** Waits out the delays for the point and returns the fault that has to answer instead of the service, if any. */
    async meet(at: FaultPoint, hub: string | undefined): Promise<Exclude<Fault, { type: 'delay' }> | undefined> {
      if (active.length === 0) return undefined
      for (const fault of active) {
        if (fault.at !== at || (fault.hub !== undefined && fault.hub.toLowerCase() !== hub)) continue
        strike(fault)
        if (fault.type !== 'delay') return fault
        await sleep(fault.delayMs, undefined, { signal: closing, ref: false }).catch(() => undefined)
      }
      return undefined
    },
  }
}

const isText = (value: unknown): boolean => value === undefined || typeof value === 'string'
const isCount = (value: unknown, max: number): boolean =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max

/** Checks a body of POST /_control/faults: one fault, a list of them, or `{ faults: […] }`. Throws InvalidFaultError. */
export function parseFaults(body: unknown): { faults: Fault[]; drops: Drop[] } {
  const isWrapped = typeof body === 'object' && body !== null && 'faults' in body
  const given = isWrapped ? body.faults : body
  const entries: unknown[] = Array.isArray(given) ? given : [given]
  const faults: Fault[] = []
  const drops: Drop[] = []
  for (const entry of entries) {
    if (typeof entry !== 'object' || entry === null) throw new InvalidFaultError('a fault is an object')
    const fault = ownWords({ ...entry })
    if (![fault['hub'], fault['user'], fault['connectionId']].every(isText)) {
      throw new InvalidFaultError('hub, user and connectionId are strings')
    }
    if (fault['type'] === 'drop') drops.push(fault as Drop)
    else faults.push(checkFault(fault))
  }
  return { faults, drops }
}

/** A fault in the words that all emulators share (see emulators/README.md) as one of this emulator's own. */
function ownWords(fault: Record<string, unknown>): Record<string, unknown> {
  const { kind, count, ...fields } = fault
  if (kind === undefined) return fault
  if (kind === 'drop-connections') return { ...fields, type: 'drop' }
  if (kind === 'lose-locks') throw new InvalidFaultError('there are no locks to lose in SignalR')
  if (kind !== 'delay' && kind !== 'refuse' && kind !== 'throttle')
    throw new InvalidFaultError('kind is drop-connections, refuse, delay or throttle')
  return { at: 'rest', ...fields, type: kind, ...(count === undefined ? {} : { times: count }) }
}

function checkFault(fault: Record<string, unknown>): Fault {
  const { type, at, times } = fault
  if (at !== 'rest' && at !== 'negotiate' && at !== 'connect')
    throw new InvalidFaultError('at is rest, negotiate or connect')
  if (times !== undefined && (!isCount(times, 1e9) || times === 0))
    throw new InvalidFaultError('times is a positive integer')
  if (type === 'refuse') return fault as Fault
  if (type === 'delay') {
    if (!isCount(fault['delayMs'], maxDelayMs)) throw new InvalidFaultError(`delayMs is an integer up to ${maxDelayMs}`)
    return fault as Fault
  }
  if (type !== 'throttle') throw new InvalidFaultError('type is drop, delay, refuse or throttle')
  fault['status'] ??= 429
  if (fault['status'] !== 429 && fault['status'] !== 503) throw new InvalidFaultError('status is 429 or 503')
  const retryAfter = fault['retryAfterSeconds']
  if (retryAfter !== undefined && !isCount(retryAfter, 86_400))
    throw new InvalidFaultError('retryAfterSeconds is an integer')
  return fault as Fault
}
