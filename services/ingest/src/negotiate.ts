import { AppError } from '@sluice/errors'
import { type SignalRService, signalrUser } from '@sluice/signalr'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Caller } from './authenticate.ts'
import type { Routes } from './routes.ts'

const tokenTtlMs = 60 * 60 * 1000

const infoSchema = z.object({ url: z.string(), accessToken: z.string() })

/** Where SignalR clients ask for their connection: @microsoft/signalr at /negotiate, chat pages at the other. */
export function negotiateRoutes(routes: Routes, signalr: SignalRService): void {
  for (const path of ['/negotiate', '/api/SignalRInfo']) {
    routes.guarded(
      {
        method: 'POST',
        path,
        tag: 'signalr',
        summary: 'Where a SignalR client connects, and its token',
        scope: 'read',
        query: z.object({ user: z.string().min(1).max(256).optional() }),
        body: { 'application/json': z.looseObject({ userId: z.string().optional() }) },
        bodyRequired: false,
        answers: { 200: { description: 'connection info', schema: infoSchema } },
      },
      (caller, request) => negotiate(signalr, caller, request),
    )
  }
}

/**
 * POST /negotiate, as @microsoft/signalr calls it: where the service is and a token for it. The user comes from
 * `?user=`, the header `x-sluice-user` or the JSON body's `userId`, and is scoped to the key's tenant.
 */
async function negotiate(signalr: SignalRService, caller: Caller, request: FastifyRequest): Promise<object> {
  const { user } = request.query as { user?: unknown }
  const named = user ?? request.headers['x-sluice-user'] ?? bodyUser(request.body)
  if (typeof named !== 'string' || named === '' || named.length > 256) {
    throw new AppError('invalid_line', 'user: say who connects, 1 to 256 characters', { param: 'user' })
  }
  return signalr.clientAccess(signalrUser(caller.tenant, named), tokenTtlMs)
}

function bodyUser(body: unknown): unknown {
  if (typeof body !== 'string' || body === '') return undefined
  try {
    return (JSON.parse(body) as { userId?: unknown } | null)?.userId
  } catch {
    return undefined
  }
}
