import type { ResultEvent } from '@sluice/contracts'
import type { SinkName } from './demo-receivers.ts'

export const sinkNames: readonly SinkName[] = ['webhook', 'signalr', 'event-hubs']

/** What the demo knows of one line. Times are milliseconds since it was sent. */
export interface Progress {
  customId: string
  arrived: Map<SinkName, number>
  event?: ResultEvent
}

/** One line of the table per request: score, tier, deployment, and a time for each sink that has it. */
export function tableRow({ customId, arrived, event }: Progress): string {
  const decision = event?.data.sluice.decision
  const sinks = sinkNames.map((sink) => {
    const ms = arrived.get(sink)
    return (ms === undefined ? '…' : `${Math.round(ms)} ms`).padStart(10)
  })
  return [
    customId.slice(-2),
    (event?.data.sluice.status ?? 'waiting').padEnd(9),
    (decision?.score?.toFixed(2) ?? '').padStart(5),
    (decision?.tier ?? '').padEnd(7),
    (decision?.deployment ?? '').padEnd(28),
    ...sinks,
  ].join('  ')
}

export const tableHead = [
  '#',
  'status   ',
  'score',
  'tier   ',
  'deployment'.padEnd(28),
  ...sinkNames.map((sink) => sink.padStart(10)),
].join('  ')

export const percentile = (values: readonly number[], share: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}
