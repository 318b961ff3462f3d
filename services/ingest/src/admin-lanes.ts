import type { PlatformConfig } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { LaneStates, LaneView, Parking } from '@sluice/parking'
import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Routes } from './routes.ts'

export interface AdminLanesDeps {
  config: Pick<PlatformConfig, 'lanes'>
  parking: Pick<Parking, 'look' | 'setPaused' | 'purge'>
  laneStates: LaneStates
  clock: Clock
  logger: Logger
}

const tag = 'operations'
const laneSchema = z.object({
  name: z.string(),
  priority: z.string().nullable(),
  sessions: z.boolean(),
  weight: z.number(),
  share: z.number(),
  paused: z.boolean(),
  full: z.boolean().describe('as many wait as may: the rest stays in the queue'),
  waiting: z.object({
    requests: z.int().describe('requests that wait for capacity; what is still in the queue is not counted'),
    tokens: z.int(),
    oldest: z.string().nullable().describe('when the longest waiting one was accepted'),
    by_class: z.record(z.string(), z.int()).describe('by the deployments that they wait for'),
  }),
  purged_until: z.string().nullable().describe('requests accepted until then are ended as cancelled'),
})
const answer = { description: 'the lane', schema: laneSchema }
const missing = { description: 'no such lane' }

/** What operators see of the lanes, and how they stop one, start it again, and empty it. */
export function adminLaneRoutes(routes: Routes, deps: AdminLanesDeps): void {
  const { config, parking, laneStates, clock, logger } = deps
  const named = (request: FastifyRequest): string => {
    const { lane } = request.params as { lane: string }
    if (Object.hasOwn(config.lanes, lane)) return lane
    throw new AppError('not_found', `There is no lane named ${JSON.stringify(lane)}.`, { param: 'lane' })
  }
  const shown = async (name: string) => {
    const view = (await parking.look()).get(name)
    return viewOf(config, name, view)
  }
  const order = (action: string, summary: string, carryOut: (lane: string) => Promise<void>) =>
    routes.guarded(
      {
        method: 'POST',
        path: `/admin/lanes/:lane/${action}`,
        tag,
        summary,
        scope: 'platform',
        answers: { 200: answer, 404: missing },
      },
      async (_, request) => {
        const lane = named(request)
        await carryOut(lane)
        logger.warn({ lane, action }, 'an operator changed a lane')
        return shown(lane)
      },
    )

  routes.guarded(
    {
      method: 'GET',
      path: '/admin/lanes',
      tag,
      summary: 'The lanes: what waits in each, since when, and whether it moves',
      scope: 'platform',
      answers: { 200: { description: 'in the configured order', schema: z.object({ data: z.array(laneSchema) }) } },
    },
    async () => {
      const views = await parking.look()
      return { data: Object.keys(config.lanes).map((name) => viewOf(config, name, views.get(name))) }
    },
  )
  // Cosmos first: Redis has a copy, which is made again from there when Redis loses it.
  const setPaused = (paused: boolean) => async (lane: string) => {
    await laneStates.set(lane, { paused })
    await parking.setPaused(lane, paused)
  }
  order('pause', 'Stops a lane: what runs goes on, nothing else begins or is received', setPaused(true))
  order('resume', 'Lets a paused lane move again', setPaused(false))
  order(
    'purge',
    'Ends every request of a lane that was accepted until now and does not run, as cancelled',
    async (lane) => {
      const purgedUntilMs = clock.now()
      await laneStates.set(lane, { purgedUntilMs })
      await parking.purge(lane, purgedUntilMs)
    },
  )
}

function viewOf({ lanes }: AdminLanesDeps['config'], name: string, view?: LaneView): z.infer<typeof laneSchema> {
  const lane = lanes[name]
  const time = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString())
  return {
    name,
    priority: lane?.priority ?? null,
    sessions: lane?.sessions ?? false,
    weight: lane?.weight ?? 1,
    share: lane?.share ?? 0,
    paused: view?.paused ?? false,
    full: (view?.rows ?? 0) >= (lane?.max_parked ?? Infinity),
    waiting: {
      requests: view?.rows ?? 0,
      tokens: view?.tokens ?? 0,
      oldest: time(view?.oldestMs),
      by_class: { ...view?.classes },
    },
    purged_until: time(view?.purgedUntilMs),
  }
}
