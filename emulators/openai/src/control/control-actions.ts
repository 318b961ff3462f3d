import type { Deployment } from '../quotas/deployment.ts'
import { cutOpenCalls } from './eviction.ts'
import { parseFault } from './faults.ts'
import type { Fault } from './faults.ts'
import { isObject, listOf, numberOf, objectOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import type { Twin } from '../twin.ts'

/** What both the control API and a fault script can do, checked but not yet done. */
export interface ControlAction {
  faults: unknown[]
  clear: boolean | string[]
  set: { deployment: Deployment; settings: Json }[]
  evict: { deployment: Deployment; noticeMs: number }[]
  restore: Deployment[]
}

const defaultNoticeMs = 30_000
const fields = ['faults', 'clear', 'set', 'evict', 'restore']

/** @throws TypeError when there is no such deployment. */
export function deploymentOf(value: unknown, twin: Twin): Deployment {
  const { resource, deployment } = objectOf(value)
  const found = twin.resources.get(textOf(resource) ?? '')?.deployments.get(textOf(deployment) ?? '')
  if (!found) throw new TypeError(`there is no deployment ${String(deployment)} in resource ${String(resource)}`)
  return found
}

const each = (value: unknown): unknown[] => (value === undefined ? [] : Array.isArray(value) ? value : [value])

/** @throws TypeError that says what is wrong. */
export function parseControlAction(value: unknown, twin: Twin): ControlAction {
  if (!isObject(value)) throw new TypeError('expected an object')
  const unknown = Object.keys(value).find((field) => !fields.includes(field))
  if (unknown !== undefined) throw new TypeError(`unknown field ${unknown}, expected ${fields.join(', ')}`)
  const faults = each(value['faults'])
  for (const fault of faults) parseFault(fault, 'checked')
  const { clear } = value
  return {
    faults,
    clear: Array.isArray(clear) ? clear.filter((id) => typeof id === 'string') : clear === true,
    set: each(value['set']).map((entry) => ({
      deployment: deploymentOf(entry, twin),
      settings: objectOf(objectOf(entry)['settings']),
    })),
    evict: each(value['evict']).map((entry) => ({
      deployment: deploymentOf(entry, twin),
      noticeMs: numberOf(objectOf(entry)['notice_ms']) ?? defaultNoticeMs,
    })),
    restore: listOf(each(value['restore'])).map((entry) => deploymentOf(entry, twin)),
  }
}

/** Adds faults; an outage cuts what is open in its region, and a cut does nothing else. */
function addFaults(values: readonly unknown[], twin: Twin): readonly Fault[] {
  const added = twin.faults.add(values)
  for (const fault of added) {
    if (fault.type === 'cut') cutOpenCalls(twin, fault.resource, fault.deployment, fault.id)
    if (fault.type === 'outage' && fault.resource !== undefined && fault.mode !== '503')
      cutOpenCalls(twin, fault.resource, undefined, fault.id)
  }
  return added
}

/** Carries an action out: clears first, so that one step can replace one fault with another. */
export function applyControl(action: ControlAction, twin: Twin): readonly Fault[] {
  if (action.clear === true) twin.faults.clear()
  else if (Array.isArray(action.clear)) for (const id of action.clear) twin.faults.remove(id)
  for (const deployment of action.restore) twin.evictions.restore(deployment)
  for (const { deployment, settings } of action.set) deployment.change(settings)
  for (const { deployment, noticeMs } of action.evict) twin.evictions.give(deployment, twin.clock.now(), noticeMs)
  twin.evictions.runDue(twin)
  return addFaults(action.faults, twin)
}
