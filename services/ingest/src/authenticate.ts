import type { KeyScope, Limits } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { FastifyRequest } from 'fastify'
import type { ApiKeys } from './api-keys.ts'
import { type EntraTokens, looksLikeToken } from './entra-tokens.ts'

/** Who calls, as a valid key or token says. */
export interface Caller {
  tenant: string
  scopes: readonly KeyScope[]
  /** Operates the platform: an admin of every tenant. */
  platform: boolean
  /** Names the key, the same after a rotation, or the token's subject. */
  principal: string
  /** The key's own limits, within its tenant's. */
  limits: Limits
}

/** What a route asks for: a scope of the caller's tenant, or to operate the platform. `admin` includes every scope. */
export type Permission = KeyScope | 'platform'

/** @throws AppError `unauthorized` or `forbidden` */
export type Authenticate = (
  request: Pick<FastifyRequest, 'headers'> & { socket?: object },
  permission: Permission,
) => Promise<Caller>

/** Callers by `Authorization: Bearer`, `api-key` or `Ocp-Apim-Subscription-Key`; a bearer may be a token of Entra ID. */
export const createAuthenticate =
  ({ keys, entra }: { keys: ApiKeys; entra?: EntraTokens | undefined }): Authenticate =>
  async ({ headers, socket }, permission) => {
    const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
    const plain = headers['api-key'] ?? headers['ocp-apim-subscription-key']
    const credential = bearer ?? (typeof plain === 'string' && plain !== '' ? plain : undefined)
    if (credential === undefined) {
      throw new AppError('unauthorized', 'Provide an API key: Authorization: Bearer KEY, or the header api-key.')
    }
    const isToken = entra !== undefined && credential === bearer && looksLikeToken(bearer)
    const caller = await (isToken ? entra.caller(credential) : keys.caller(credential, socket))
    if (!allowed(caller, permission)) throw new AppError('forbidden', `This key may not ${verbs[permission]}.`)
    return caller
  }

const verbs: Record<Permission, string> = {
  submit: 'submit',
  read: 'read',
  admin: 'administer its tenant',
  platform: 'operate the platform',
}

const allowed = ({ scopes, platform }: Caller, permission: Permission): boolean =>
  permission === 'platform' ? platform : scopes.includes(permission) || scopes.includes('admin')
