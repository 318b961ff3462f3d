import type { Outbox, Row } from '@sluice/ledger'
import type { Progress, SignalRTarget } from '@sluice/progress'

/** Tells the watchers of requests what this worker does with them. Nothing here waits or throws. */
export interface ProgressReport {
  /** A model is about to be called. @returns takes the chunks of a streamed answer, in their order */
  started(row: Row): (chunk: unknown) => void
  /**
   * An outbox that says `finished` for whatever it publishes: by then the result is stored, whoever ended the request,
   * and however.
   */
  outbox(outbox: Outbox): Outbox
}

const targetsOf = ({ line }: Row): SignalRTarget[] =>
  (line.sluice?.deliver ?? []).filter((target) => target.type === 'signalr')

export const createProgressReport = (progress: Pick<Progress, 'publish'>): ProgressReport => ({
  started(row) {
    const options = { signalr: targetsOf(row) }
    progress.publish(row.tenant, row.id, { kind: 'started', attempt: row.attempts }, options)
    let index = 0
    return (chunk) => progress.publish(row.tenant, row.id, { kind: 'delta', index: index++, chunk }, options)
  },
  outbox: (outbox) => ({
    async publish(row) {
      if (row.result !== undefined) {
        const { status } = row.result.sluice
        progress.publish(row.tenant, row.id, { kind: 'finished', status }, { signalr: targetsOf(row) })
      }
      await outbox.publish(row)
    },
  }),
})
