import { BrokerError } from '../broker-error.ts'

export type FaultOperation = 'attach' | 'send' | 'settle' | 'management'

export type Fault = {
  kind: 'refuse' | 'delay' | 'throttle'
  operation?: FaultOperation | undefined
  /** Limits the fault to one entity (case-insensitive path). */
  entity?: string | undefined
  condition?: string | undefined
  description?: string | undefined
  delayMs?: number | undefined
  /** How many operations it affects before it ends; unlimited when absent. */
  count?: number | undefined
}

/** Faults that are injected on purpose, set through the control API. */
export class FaultPlan {
  readonly #faults: Fault[] = []

  get faults(): readonly Fault[] {
    return this.#faults
  }

  add(fault: Fault): void {
    this.#faults.push({ ...fault })
  }

  clear(): void {
    this.#faults.length = 0
  }

  /** @throws BrokerError when the operation is to be refused */
  check(operation: FaultOperation, entity: string): void {
    if (this.#faults.length === 0) return
    const fault = this.#take((candidate) => candidate.kind !== 'delay', operation, entity)
    if (fault?.kind === 'throttle')
      throw new BrokerError(
        'com.microsoft:server-busy',
        'The request was terminated because the entity is being throttled. Wait and try again.',
      )
    if (fault !== undefined)
      throw new BrokerError(fault.condition ?? 'amqp:internal-error', fault.description ?? 'This fault was injected.')
  }

  /** How long the operation is to be held back. */
  delayMs(operation: FaultOperation, entity: string): number {
    if (this.#faults.length === 0) return 0
    return this.#take((candidate) => candidate.kind === 'delay', operation, entity)?.delayMs ?? 0
  }

  #take(isKind: (fault: Fault) => boolean, operation: FaultOperation, entity: string): Fault | undefined {
    const at = this.#faults.findIndex(
      (fault) =>
        isKind(fault) &&
        (fault.operation === undefined || fault.operation === operation) &&
        (fault.entity === undefined || fault.entity.toLowerCase() === entity.toLowerCase()),
    )
    const fault = this.#faults[at]
    if (fault?.count !== undefined && --fault.count <= 0) this.#faults.splice(at, 1)
    return fault
  }
}
