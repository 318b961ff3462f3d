import type { BrokerContext } from './broker-context.ts'
import type { Clock } from './clock.ts'
import type { EventHubsConfig } from './config/event-hubs-config.ts'
import type { ServiceBusConfig } from './config/service-bus-config.ts'
import { EventHubs } from './event-hubs/event-hubs.ts'
import { Scheduler } from './scheduler.ts'
import { firstLockId } from './service-bus/lock-token.ts'
import { Namespace } from './service-bus/namespace.ts'
import type { Journal } from './store/journal.ts'
import { MemoryRelease } from './store/memory-release.ts'

type Parts = { clock: Clock; journal: Journal; serviceBus: ServiceBusConfig; eventHubs: EventHubsConfig }

/** The entities of one emulator, their timers and their journal. */
export class Broker {
  readonly context: BrokerContext
  readonly #parts: Parts
  readonly #scheduler: Scheduler
  #namespace: Namespace
  #eventHubs: EventHubs
  #nextLockId = 0
  #lastRowId = 0

  /** Opens the entities with what an earlier run left in the journal. */
  constructor(parts: Parts) {
    this.#parts = parts
    this.#scheduler = new Scheduler(parts.clock)
    this.context = {
      clock: parts.clock,
      journal: parts.journal,
      scheduler: this.#scheduler,
      memory: new MemoryRelease(),
      newLockId: () => this.#nextLockId++,
      newRowId: () => ++this.#lastRowId,
    }
    this.#namespace = new Namespace(this.context, parts.serviceBus)
    this.#eventHubs = new EventHubs(this.context, parts.eventHubs)
    this.#restore()
  }

  get entities(): { namespace: Namespace; eventHubs: EventHubs } {
    return { namespace: this.#namespace, eventHubs: this.#eventHubs }
  }

  /** Ends the locks of one entity, or of all. @returns how many there were */
  loseLocks(entity: string | undefined): number {
    let lost = 0
    for (const queue of this.#namespace.all()) {
      if (entity === undefined || queue.path.toLowerCase() === entity.toLowerCase()) lost += queue.loseLocks()
    }
    return lost
  }

  /** Counts per entity. */
  state(): unknown {
    return {
      queues: [...this.#namespace.all()].map(({ path, contents }) => ({
        path,
        messages: contents.size,
        active: contents.count('active'),
        deferred: contents.count('deferred'),
        scheduled: contents.count('scheduled'),
        bytes: contents.bytes,
      })),
      eventHubs: this.#eventHubs.hubs.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map((partition) => ({
          id: partition.id,
          begin: partition.properties.begin,
          last: partition.properties.last?.sequenceNumber ?? -1,
        })),
      })),
    }
  }

  /** Forgets all messages, events, sessions and changed rules. Links to the old entities must be cut first. */
  reset(): void {
    this.#scheduler.clear()
    this.#parts.journal.reset()
    this.context.memory.freeAll()
    this.#namespace = new Namespace(this.context, this.#parts.serviceBus)
    this.#eventHubs = new EventHubs(this.context, this.#parts.eventHubs)
  }

  close(): void {
    this.#scheduler.close()
    this.context.memory.close()
    this.#parts.journal.close()
  }

  #restore(): void {
    const { namespace, eventHubs } = this.entities
    this.#parts.journal.restore({
      run: (number) => (this.#nextLockId = firstLockId(number)),
      sequence: (entity, last) => namespace.restoreSequence(entity, last),
      sessionLock: ({ entity, sessionId, lockedUntilMs }) =>
        namespace.restoreSessionLock(entity, sessionId, lockedUntilMs),
      message: (entity, message) => {
        this.#lastRowId = Math.max(this.#lastRowId, message.rowId)
        namespace.restoreMessage(entity, message)
      },
      sessionState: ({ entity, sessionId, state }) => namespace.restoreSessionState(entity, sessionId, state),
      duplicate: (entity, messageId, untilMs) => namespace.restoreDuplicate(entity, messageId, untilMs),
      rules: (entity, rules) =>
        namespace.restoreRules(
          entity,
          rules.map(({ definition }) => definition),
        ),
      event: (partition, event) => eventHubs.restoreEvent(partition, event),
    })
  }
}
