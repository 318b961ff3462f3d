import { AppError } from '@sluice/errors'
import { type SignalRService, signalrUser } from '@sluice/signalr'
import type { FastifyRequest } from 'fastify'
import type { Caller } from './api-keys.ts'

const tokenTtlMs = 60 * 60 * 1000

/**
 * POST /negotiate, as @microsoft/signalr calls it: where the service is and a token for it. The user comes from
 * `?user=`, the header `x-sluice-user` or the JSON body's `userId`, and is scoped to the key's tenant.
 */
export async function negotiate(signalr: SignalRService, caller: Caller, request: FastifyRequest): Promise<object> {
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
