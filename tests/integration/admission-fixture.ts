import {
  type Admission,
  type AdmissionOptions,
  createAdmission,
  type Grant,
  type ReserveInput,
} from '@sluice/admission'
import { systemClock } from '@sluice/resilience'
import type { PrivateRedis } from './private-redis.ts'

export interface TestWorker extends Admission {
  /** Reserves what must have room. */
  granted(input: ReserveInput): Promise<Grant>
  /** What was logged, as `message {fields}`. */
  log: string[]
}

/** A worker's admission on a connection of its own. */
export function admissionWorker(redis: PrivateRedis, options: Partial<AdmissionOptions> = {}): TestWorker {
  const log: string[] = []
  const note = (fields: object, message: string) => void log.push(`${message} ${JSON.stringify(fields)}`)
  const admission = createAdmission({
    redis: redis.connect(),
    clock: systemClock,
    logger: { info: note, warn: note },
    deadlineMs: 10_000,
    ...options,
  })
  return {
    ...admission,
    log,
    async granted(input) {
      const answer = await admission.reserve(input)
      if (answer.kind !== 'granted') throw new Error(`expected room, got ${JSON.stringify(answer)}`)
      return answer
    },
  }
}

/** Polls until it is so. */
export async function until(condition: () => boolean | Promise<boolean>, what = 'it'): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`timed out waiting until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
