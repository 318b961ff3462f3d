import { badRequest, notFound } from '../cosmos-error.ts'
import { isJsonObject, type JsonObject } from '../json.ts'
import type { Catalog } from '../store/catalog.ts'
import type { CosmosReply, CosmosRequest } from './exchange.ts'
import { readFaults, type Fault, type FaultPlan } from './faults.ts'
import type { RequestUnitBudget } from './request-unit-budget.ts'

export interface ControlTarget {
  catalog: Catalog
  faults: FaultPlan
  budget: RequestUnitBudget
  counters: { requests: number; requestUnits: number; throttled: number }
  /** Refuses connections for a while. */
  refuse(durationMs: number): void
}

const reply = (document: JsonObject): CosmosReply => ({
  status: 200,
  headers: {},
  body: JSON.stringify(document),
  charge: 0,
})

const parse = (body: string): unknown => {
  try {
    return JSON.parse(body)
  } catch {
    throw badRequest('The control request is not JSON.')
  }
}

const state = ({ catalog, faults, budget, counters }: ControlTarget): CosmosReply =>
  reply({
    ...counters,
    ruPerSecond: budget.perSecond ?? null,
    faults: faults.all.map((fault) => ({ ...fault })),
    databases: [...catalog.databases.values()].map((database) => ({
      id: database.id,
      containers: [...database.containers.values()].map((container) => ({
        id: container.definition.id,
        items: container.itemCount,
        lastLsn: container.lastLsn,
        indexedPaths: container.indexes.count,
      })),
    })),
  })

const addFaults = (target: ControlTarget, body: unknown): CosmosReply => {
  const faults: Fault[] = readFaults(body)
  target.faults.add(faults.filter(({ type }) => type !== 'refuse'))
  for (const { type, durationMs } of faults) if (type === 'refuse') target.refuse(durationMs ?? 0)
  return reply({ faults: target.faults.all.length })
}

const setThroughput = ({ budget }: ControlTarget, body: unknown): CosmosReply => {
  const ruPerSecond = isJsonObject(body) ? body['ruPerSecond'] : undefined
  if (ruPerSecond !== null && !(typeof ruPerSecond === 'number' && ruPerSecond >= 0))
    throw badRequest('ruPerSecond is a number, or null for no limit.')
  budget.perSecond = ruPerSecond ?? undefined
  return reply({ ruPerSecond })
}

export const isControlPath = (url: string): boolean => url.startsWith('/_control/')

/** The control API, unauthenticated: GET state, POST and DELETE faults, POST throughput, POST reset (all data and faults). */
export const handleControl = (target: ControlTarget, request: CosmosRequest): CosmosReply => {
  switch (`${request.method} ${request.path.segments.slice(1).join('/')}`) {
    case 'GET state':
      return state(target)
    case 'POST faults':
      return addFaults(target, parse(request.body))
    case 'DELETE faults':
      target.faults.clear()
      return reply({ faults: 0 })
    case 'POST throughput':
      return setThroughput(target, parse(request.body))
    case 'POST reset':
      target.faults.clear()
      target.catalog.clear()
      return reply({ databases: 0 })
    default:
      throw notFound(`The control API has no ${request.method} ${request.path.segments.join('/')}.`)
  }
}
