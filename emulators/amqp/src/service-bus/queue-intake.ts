import { BrokerError, notAllowed, quotaExceeded } from '../broker-error.ts'
import type { BrokerContext } from '../broker-context.ts'
import type { BrokeredMessage, LoadedMessage } from './brokered-message.ts'
import { DuplicateHistory } from './duplicate-history.ts'
import type { EntityProperties } from './entity-properties.ts'
import { draftOf, placeMessage, type MessageDraft, type Route } from './message-draft.ts'
import type { QueueContents } from './queue-contents.ts'
import type { QueueDeadlines } from './queue-deadlines.ts'

type Parts = {
  context: BrokerContext
  path: string
  properties: EntityProperties
  contents: QueueContents
  deadlines: QueueDeadlines
  makeReady: (message: BrokeredMessage) => void
}

/** The ways into a queue: sent or scheduled by a client, due after having been scheduled, dead-lettered by its owner. */
export class QueueIntake {
  /** Where messages go that do not stay. */
  route: Route | undefined
  readonly #parts: Parts
  readonly #duplicates: DuplicateHistory | undefined

  constructor(parts: Parts) {
    this.#parts = parts
    const { requiresDuplicateDetection, duplicateWindowMs } = parts.properties
    if (requiresDuplicateDetection) this.#duplicates = new DuplicateHistory(duplicateWindowMs)
  }

  /** See MessageQueue.publish. */
  publish(drafts: MessageDraft[]): number[] {
    const { context, path, properties, contents } = this.#parts
    let { bytes } = contents
    for (const draft of drafts) {
      bytes += draft.bare.length
      if (properties.requiresSession && draft.sessionId === undefined) {
        throw notAllowed(`The SessionId was not set on a message, and '${path}' requires sessions.`)
      }
    }
    if (bytes > properties.maxSizeBytes) throw quotaExceeded(path)
    const now = context.clock.now()
    return drafts.map((draft) => this.#publishOne(draft, now))
  }

  /** A scheduled message joins the queue as if it had been sent at its due time, with a new sequence number. */
  activate(scheduledNumber: number): void {
    const { context, contents } = this.#parts
    const message = contents.get(scheduledNumber)
    if (message?.state !== 'scheduled') return
    const loaded = contents.take(message)
    const sequenceNumber = contents.nextSequenceNumber()
    if (this.route !== undefined) {
      const draft = { ...draftOf(loaded), enqueuedSequenceNumber: 0, scheduledAtMs: message.scheduledAtMs }
      this.route(draft, sequenceNumber)
      return
    }
    const place = { rowId: context.newRowId(), sequenceNumber, enqueuedAtMs: context.clock.now() }
    this.#keep({ ...loaded, ...place, state: 'active' })
  }

  /** A message from the entity this dead-letter queue belongs to. It keeps its sequence number. */
  adopt(message: LoadedMessage): void {
    const { context, contents } = this.#parts
    contents.restoreSequence(message.sequenceNumber)
    if (this.route !== undefined && this.#forwarded(message, this.route)) return
    this.#keep({ ...message, rowId: context.newRowId(), state: 'active', expiresAtMs: Infinity, lock: undefined })
  }

  restoreDuplicate(messageId: string, untilMs: number): void {
    this.#duplicates?.restore(messageId, untilMs)
  }

  // A dead letter that its target refuses stays where it is: it has nowhere else to go.
  #forwarded(message: LoadedMessage, route: Route): boolean {
    try {
      route({ ...draftOf(message), ttlMs: undefined }, message.sequenceNumber)
      return true
    } catch (error) {
      if (error instanceof BrokerError) return false
      throw error
    }
  }

  #publishOne(draft: MessageDraft, now: number): number {
    const { context, contents, properties } = this.#parts
    if (this.#duplicates !== undefined) {
      const untilMs = this.#duplicates.note(draft.messageId, now)
      if (untilMs === undefined) return 0
      context.journal.saveDuplicate(contents.entity, draft.messageId, untilMs)
    }
    const sequenceNumber = contents.nextSequenceNumber()
    const scheduled = draft.scheduledAtMs !== undefined && draft.scheduledAtMs > now
    if (this.route !== undefined && !scheduled) {
      this.route(draft, sequenceNumber)
      return sequenceNumber
    }
    const place = { rowId: context.newRowId(), sequenceNumber, now, defaultTtlMs: properties.defaultTtlMs }
    this.#keep(placeMessage(draft, place))
    return sequenceNumber
  }

  #keep(message: LoadedMessage): void {
    const { contents, deadlines, makeReady } = this.#parts
    contents.insert(message)
    if (message.expiresAtMs < Infinity) deadlines.expires(message.expiresAtMs, message.sequenceNumber)
    if (message.state === 'scheduled') deadlines.schedule(message.scheduledAtMs ?? 0, message.sequenceNumber)
    else makeReady(message)
  }
}
