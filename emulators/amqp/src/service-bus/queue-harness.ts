import type { ParsedMessage } from '../amqp/parse-message.ts'
import { parseMessage } from '../amqp/parse-message.ts'
import type { BrokerContext } from '../broker-context.ts'
import { ManualClock } from '../clock.ts'
import { Scheduler } from '../scheduler.ts'
import { memoryJournal } from '../store/memory-journal.ts'
import { MemoryRelease } from '../store/memory-release.ts'
import type { BrokeredMessage } from './brokered-message.ts'
import type { ReceiveMode } from './consumer.ts'
import type { EntityProperties } from './entity-properties.ts'
import type { SessionHolder } from './session-dispatcher.ts'

/** A context for tests of the state machines: time stands still until the clock is moved. */
export const testContext = (changes: Partial<BrokerContext> = {}): { context: BrokerContext; clock: ManualClock } => {
  const clock = new ManualClock(1_000_000)
  let lastId = 0
  const context: BrokerContext = {
    clock,
    scheduler: new Scheduler(clock),
    journal: memoryJournal(),
    memory: new MemoryRelease(),
    newLockId: () => ++lastId,
    newRowId: () => ++lastId,
    ...changes,
  }
  return { context, clock }
}

export const testProperties = (changes: Partial<EntityProperties> = {}): EntityProperties => ({
  lockDurationMs: 30_000,
  maxDeliveryCount: 3,
  defaultTtlMs: Infinity,
  deadLetterOnExpiration: false,
  requiresSession: false,
  requiresDuplicateDetection: false,
  duplicateWindowMs: 0,
  forwardTo: undefined,
  forwardDeadLetteredTo: undefined,
  maxSizeBytes: Infinity,
  status: 'Active',
  ...changes,
})

export const testDraft = (changes: Partial<ParsedMessage> = {}): ParsedMessage => ({
  ...parseMessage(Buffer.from('005375a0020102', 'hex')),
  ...changes,
})

/** A consumer that takes as many messages as it has credit, and remembers what happened to it. */
export class TestConsumer implements SessionHolder {
  readonly mode: ReceiveMode
  readonly received: BrokeredMessage[] = []
  readonly lost: number[] = []
  session: string | undefined
  sessionLost = false
  credit: number

  constructor(credit = 100, mode: ReceiveMode = 'peek-lock') {
    this.credit = credit
    this.mode = mode
  }

  get numbers(): number[] {
    return this.received.map(({ sequenceNumber }) => sequenceNumber)
  }

  /** The lock of the n-th message received. */
  lock(index: number): number {
    return this.received[index]?.lock?.id ?? 0
  }

  capacity(): number {
    return this.credit
  }

  deliver(message: BrokeredMessage): void {
    this.credit--
    this.received.push(message)
  }

  lockLost(lockId: number): void {
    this.lost.push(lockId)
  }

  granted(sessionId: string): void {
    this.session = sessionId
  }

  sessionLockLost(): void {
    this.sessionLost = true
  }
}
