import { AppError } from '@sluice/errors'
import { type SignalRService, signalrUser } from '@sluice/signalr'
import { z } from 'zod'
import type { Routes } from './routes.ts'

const name = z.string().min(1).max(256)
const callMs = 10_000

/** Who is in a SignalR group: in serverless mode clients cannot join one by themselves. */
export function signalrGroupRoutes(routes: Routes, signalr: Pick<SignalRService, 'changeGroup'>): void {
  for (const [method, change, summary] of [
    ['PUT', 'add', 'Puts a user into a SignalR group'],
    ['DELETE', 'remove', 'Takes a user out of a SignalR group'],
  ] as const) {
    routes.guarded(
      {
        method,
        path: '/v1/signalr/groups/:group/users/:user',
        tag: 'signalr',
        summary,
        scope: 'submit',
        answers: { 204: { description: 'done' } },
      },
      async ({ tenant }, request, reply) => {
        const params = z.object({ group: name, user: name }).safeParse(request.params)
        if (!params.success) throw new AppError('invalid_line', 'group, user: 1 to 256 characters', { param: 'group' })
        const { group, user } = params.data
        const signal = AbortSignal.timeout(callMs)
        await signalr.changeGroup(change, signalrUser(tenant, user), signalrUser(tenant, group), signal)
        return reply.code(204).send()
      },
    )
  }
}
