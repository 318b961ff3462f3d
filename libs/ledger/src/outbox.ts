import type { Sender } from '@sluice/messaging'
import type { Ledger } from './ledger-types.ts'
import { resultMessage } from './messages.ts'
import type { Row } from './row.ts'

export interface Outbox {
  /**
   * Puts a terminal row's event on the topic and notes that in the row. Rejects when the topic does not take it; a
   * sweeper publishes the row later, so a caller may go on.
   */
  publish(row: Row): Promise<void>
}

/**
 * The outbox: the row is stored with `published: false`, then its event is sent, then the row is flipped. A crash in
 * between publishes the same event id again, which every sink recognises.
 */
export function createOutbox(deps: { topic: Pick<Sender, 'send'>; ledger: Pick<Ledger, 'markPublished'> }): Outbox {
  return {
    async publish(row) {
      if (row.published) return
      await deps.topic.send(resultMessage(row))
      deps.ledger.markPublished(row)
    },
  }
}
