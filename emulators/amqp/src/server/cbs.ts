import { invalidArgument } from '../broker-error.ts'
import type { Clock } from '../clock.ts'
import type { AccessKey } from '../config/access-key.ts'
import type { ManagementRequest, ManagementResponse } from './management-request.ts'
import type { Peer } from './peer.ts'
import { entityPath, verifySasToken } from './sas-token.ts'

const accepted: ManagementResponse = { status: 202, description: 'Accepted' }
const tokenTypes = new Set(['servicebus.windows.net:sastoken', 'jwt'])

/** Answers a put-token request. Without configured keys every token is accepted and nothing is remembered. */
export const putToken = (
  peer: Peer,
  keys: AccessKey[],
  clock: Clock,
  request: ManagementRequest,
): ManagementResponse => {
  if (request.operation !== 'put-token')
    throw invalidArgument(`The operation '${request.operation}' is not supported by $cbs.`)
  if (!tokenTypes.has(request.text('type') ?? '')) throw invalidArgument('The token type is not supported.')
  const token = request.body
  if (typeof token !== 'string') throw invalidArgument('The token must be a string.')
  if (keys.length === 0) return accepted
  const claim = verifySasToken(token, keys, clock.now())
  if (typeof claim === 'string') return { status: 401, description: claim, condition: 'amqp:unauthorized-access' }
  const audience = entityPath(request.text('name') ?? '')
  if (!claimCovers(claim.path, audience))
    return { status: 401, description: 'The token is for another resource.', condition: 'amqp:unauthorized-access' }
  const known = peer.claims.findIndex(({ path }) => path === claim.path)
  if (known >= 0) peer.claims.splice(known, 1)
  peer.claims.push(claim)
  return accepted
}

const claimCovers = (granted: string, wanted: string): boolean => {
  const [outer, inner] = [granted.toLowerCase(), wanted.toLowerCase()]
  return outer === '' || inner === outer || inner.startsWith(`${outer}/`)
}
