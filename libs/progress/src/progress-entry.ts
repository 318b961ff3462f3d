import type { DeliverTarget, TerminalStatus } from '@sluice/contracts'

/** What happens to a request on its way, as a watcher sees it. */
export type ProgressEntry =
  | { kind: 'queued'; lane: string }
  /** A worker calls a model; deltas of an earlier attempt are void from here on. */
  | { kind: 'started'; attempt: number }
  /** The `index`-th chunk of the current attempt, counted from 0: whoever sees a gap has missed something. */
  | { kind: 'delta'; index: number; chunk: unknown }
  /** The result is stored: the ledger has it. */
  | { kind: 'finished'; status: TerminalStatus }

/** Who is told of each entry over SignalR. */
export type SignalRTarget = Extract<DeliverTarget, { type: 'signalr' }>

/** An entry's fields in a Redis stream. */
export const encodeEntry = ({ kind, ...data }: ProgressEntry): string[] => ['kind', kind, 'data', JSON.stringify(data)]

const kinds: readonly ProgressEntry['kind'][] = ['queued', 'started', 'delta', 'finished']

/** The entry that `encodeEntry` wrote; undefined for what another version wrote. */
export function decodeEntry(fields: readonly string[]): ProgressEntry | undefined {
  const kind = fieldOf(fields, 'kind')
  const data = fieldOf(fields, 'data')
  if (data === undefined || !(kinds as readonly (string | undefined)[]).includes(kind)) return undefined
  try {
    return { kind, ...(JSON.parse(data) as object) } as ProgressEntry
  } catch {
    return undefined
  }
}

/** A value of a stream entry, whose fields Redis answers as a flat list of names and values. */
export function fieldOf(fields: readonly string[], name: string): string | undefined {
  for (let index = 0; index + 1 < fields.length; index += 2) if (fields[index] === name) return fields[index + 1]
  return undefined
}
