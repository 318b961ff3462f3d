import { CosmosError } from './cosmos-error.ts'
import { Authorizer } from './protocol/authorization.ts'
import { handleControl, type ControlTarget } from './protocol/control.ts'
import { header, isTrue, type CosmosReply, type CosmosRequest } from './protocol/exchange.ts'
import { FaultPlan } from './protocol/faults.ts'
import { RequestUnitBudget } from './protocol/request-unit-budget.ts'
import { Router } from './protocol/router.ts'
import type { Catalog } from './store/catalog.ts'

const isMetered = (request: CosmosRequest): boolean =>
  request.path.segments[4] !== undefined &&
  request.path.segments[4] !== 'pkranges' &&
  !isTrue(request, 'x-ms-cosmos-is-query-plan-request')

/** One emulated account: authorization, the request unit budget and counters around the router. */
export class Account implements ControlTarget {
  readonly catalog: Catalog
  readonly faults = new FaultPlan()
  readonly budget: RequestUnitBudget
  readonly counters = { requests: 0, requestUnits: 0, throttled: 0 }
  /** Set by the server that owns the connections. */
  refuse: (durationMs: number) => void = () => undefined
  endpoint = ''
  readonly #authorizer: Authorizer
  readonly #router: Router

  constructor(catalog: Catalog, key: string, ruPerSecond: number | undefined) {
    this.catalog = catalog
    this.#authorizer = new Authorizer(key)
    this.budget = new RequestUnitBudget(ruPerSecond)
    this.#router = new Router(catalog, () => this.endpoint)
  }

  handle(request: CosmosRequest): CosmosReply {
    if (request.path.segments[0] === '_control') return handleControl(this, request)
    this.counters.requests += 1
    this.#authorizer.check({
      method: request.method,
      resourceType: request.path.resourceType,
      resourceLinks: request.path.signedLinks,
      date: header(request, 'x-ms-date'),
      authorization: header(request, 'authorization'),
    })
    if (!isMetered(request)) return this.#router.handle(request)
    this.#admit(request.nowMs)
    try {
      const reply = this.#router.handle(request)
      this.#spend(reply.charge)
      return reply
    } catch (error) {
      // Refused requests cost about as much as a read.
      this.#spend(1)
      throw error
    }
  }

  #admit(nowMs: number): void {
    try {
      this.budget.admit(nowMs)
    } catch (error) {
      if (error instanceof CosmosError) this.counters.throttled += 1
      throw error
    }
  }

  #spend(units: number): void {
    this.counters.requestUnits += units
    this.budget.spend(units)
  }
}
