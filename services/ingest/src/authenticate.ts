import { AppError } from '@sluice/errors'
import type { FastifyRequest } from 'fastify'
import type { ApiKeys, Caller, Scope } from './api-keys.ts'

/**
 * The caller of a request, by `Authorization: Bearer`, `api-key` or `Ocp-Apim-Subscription-Key`.
 * @throws AppError `unauthorized` or `forbidden`.
 */
export async function authenticate(keys: ApiKeys, request: FastifyRequest, scope: Scope): Promise<Caller> {
  const key = keyOf(request.headers)
  if (key === undefined) {
    throw new AppError('unauthorized', 'Provide an API key: Authorization: Bearer KEY, or the header api-key.')
  }
  const caller = await keys.caller(key)
  if (!caller.scopes.includes(scope) && !caller.scopes.includes('admin')) {
    throw new AppError('forbidden', `This key may not ${scope}.`)
  }
  return caller
}

function keyOf(headers: FastifyRequest['headers']): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
  const plain = headers['api-key'] ?? headers['ocp-apim-subscription-key']
  return bearer ?? (typeof plain === 'string' && plain !== '' ? plain : undefined)
}
