import { decodeEntry, encodeEntry, fieldOf, type ProgressEntry, type SignalRTarget } from './progress-entry.ts'

/** Entries of every request that has a SignalR target, for the notifiers' consumer group. */
export const signalrStream = 'sluice:progress:signalr'
export const signalrGroup = 'notifier'

/** An entry of the shared stream. */
export interface SharedEntry {
  tenant: string
  id: string
  targets: SignalRTarget[]
  entry: ProgressEntry
}

export const encodeSharedEntry = ({ tenant, id, targets, entry }: SharedEntry): string[] => [
  ...['tenant', tenant, 'id', id, 'targets', JSON.stringify(targets)],
  ...encodeEntry(entry),
]

/** Reads the fields of an entry of the shared stream; undefined for what another version wrote. */
export function readSharedEntry(fields: readonly string[]): SharedEntry | undefined {
  const [tenant, id, targets] = ['tenant', 'id', 'targets'].map((name) => fieldOf(fields, name))
  const entry = decodeEntry(fields)
  if (tenant === undefined || id === undefined || targets === undefined || entry === undefined) return undefined
  try {
    return { tenant, id, targets: JSON.parse(targets) as SignalRTarget[], entry }
  } catch {
    return undefined
  }
}
