import type { Clock } from '@sluice/resilience'
import { createParkingScript, type ScriptingRedis } from './parking-script.ts'

/**
 * Tells the index which server it lives in, whenever a connection was made: a Redis that was started again may have lost
 * its last second of writes without losing everything, so its rows are read again from Cosmos.
 */
export async function noteServer(options: {
  redis: ScriptingRedis & { info(section: string): Promise<string> }
  clock: Clock
  deadlineMs?: number
}): Promise<void> {
  const { redis, clock, deadlineMs = 1_000 } = options
  const server = /^run_id:(\w+)/m.exec(await redis.info('server'))?.[1]
  if (server !== undefined) await createParkingScript({ redis, clock, deadlineMs })('served_by', { server })
}
