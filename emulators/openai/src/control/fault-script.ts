import { applyControl } from './control-actions.ts'
import type { ControlAction } from './control-actions.ts'
import { parseControlAction } from './control-actions.ts'
import { isObject, numberOf } from '../json-fields.ts'
import type { Twin } from '../twin.ts'

interface Step {
  atMs: number
  action: ControlAction
}

/** A timed list of control actions: `[{ "at_ms": 5000, "faults": [ … ] }, …]`, on the virtual clock, from the start. */
export class FaultScript {
  readonly #steps: Step[]
  readonly #twin: Twin
  readonly #startedAt: number

  /** @throws TypeError that names the step which is wrong. */
  constructor(script: unknown, twin: Twin) {
    if (!Array.isArray(script)) throw new TypeError('a fault script must be a list of steps')
    this.#twin = twin
    this.#startedAt = twin.clock.now()
    this.#steps = script.map((value: unknown, index) => {
      const atMs = isObject(value) ? numberOf(value['at_ms']) : undefined
      if (!isObject(value) || atMs === undefined || atMs < 0)
        throw new TypeError(`step ${index}: at_ms must be a number, 0 or more`)
      const { at_ms: _atMs, ...rest } = value
      try {
        return { atMs, action: parseControlAction(rest, twin) }
      } catch (error) {
        throw new TypeError(`step ${index}: ${error instanceof Error ? error.message : String(error)}`)
      }
    })
    this.#steps.sort((left, right) => left.atMs - right.atMs)
  }

  /** Carries out the steps whose time has come, in order. */
  runDue(): void {
    const elapsed = this.#twin.clock.now() - this.#startedAt
    for (let step = this.#steps[0]; step && step.atMs <= elapsed; step = this.#steps[0]) {
      this.#steps.shift()
      applyControl(step.action, this.#twin)
    }
  }
}
