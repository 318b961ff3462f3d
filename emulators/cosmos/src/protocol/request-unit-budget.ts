import { CosmosError, substatus } from '../cosmos-error.ts'

/**
 * Provisioned throughput as the service meters it: a request is admitted while the current second has units left and is
 * charged what it cost afterwards, so one large request can overdraw; the next second starts afresh.
 */
export class RequestUnitBudget {
  perSecond: number | undefined
  #second = -1
  #spent = 0

  constructor(perSecond: number | undefined) {
    this.perSecond = perSecond
  }

  /** Throws 429 with `x-ms-retry-after-ms` when this second's units are used up. */
  admit(nowMs: number): void {
    if (this.perSecond === undefined) return
    const second = Math.floor(nowMs / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#spent = 0
    }
    if (this.#spent >= this.perSecond) throw requestRateTooLarge((second + 1) * 1000 - nowMs)
  }

  spend(units: number): void {
    this.#spent += units
  }
}

export const requestRateTooLarge = (retryAfterMs: number): CosmosError =>
  new CosmosError(
    429,
    'Request rate is large. More Request Units may be needed, so no changes were made. Please retry this request later. Learn more: http://aka.ms/cosmosdb-error-429',
    {
      substatus: substatus.requestRateTooLarge,
      headers: { 'x-ms-retry-after-ms': String(Math.max(1, Math.ceil(retryAfterMs))) },
    },
  )
