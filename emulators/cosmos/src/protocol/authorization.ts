import { createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto'
import { CosmosError } from '../cosmos-error.ts'

const maxSkewMs = 15 * 60_000

export interface SignedRequest {
  method: string
  /** `dbs`, `colls`, `docs`, …; empty for the account. */
  resourceType: string
  /** Candidates for the signed link: clients sign it unescaped, but some escape it first. */
  resourceLinks: readonly string[]
  date: string | undefined
  authorization: string | undefined
}

const signature = (key: KeyObject, payload: string): Buffer => createHmac('sha256', key).update(payload).digest()

const payloadOf = ({ method, resourceType, date }: SignedRequest, link: string): string =>
  `${method.toLowerCase()}\n${resourceType}\n${link}\n${(date ?? '').toLowerCase()}\n\n`

const tokenSignature = (authorization: string): Buffer | undefined => {
  let token: string
  try {
    token = decodeURIComponent(authorization)
  } catch {
    return undefined
  }
  // Not URLSearchParams: it would turn the + of base64 into a space.
  const parts = /^type=master&ver=1\.0&sig=([A-Za-z0-9+/=]+)$/.exec(token)
  return parts?.[1] === undefined ? undefined : Buffer.from(parts[1], 'base64')
}

/** Checks the master-key HMAC of each request. Throws 401, or 403 when the date is more than 15 minutes off. */
export class Authorizer {
  readonly #key: KeyObject

  /** `key` is base64. */
  constructor(key: string) {
    this.#key = createSecretKey(Buffer.from(key, 'base64'))
  }

  check(request: SignedRequest): void {
    const { authorization, date } = request
    if (authorization === undefined)
      throw new CosmosError(
        401,
        'Required Header authorization is missing. Ensure a valid Authorization token is passed.',
      )
    const claimed = tokenSignature(authorization)
    const matches = (link: string): boolean => {
      const expected = signature(this.#key, payloadOf(request, link))
      return claimed !== undefined && claimed.length === expected.length && timingSafeEqual(claimed, expected)
    }
    if (!request.resourceLinks.some(matches)) {
      const payload = payloadOf(request, request.resourceLinks[0] ?? '').replaceAll('\n', '\\n')
      throw new CosmosError(
        401,
        `The input authorization token can't serve the request. The wrong key is being used or the expected payload is not built as per the protocol. Server used the following payload to sign: '${payload}'`,
      )
    }
    // Against the real clock even where tests inject one: clients stamp requests with theirs.
    const at = Date.parse(date ?? '')
    if (Number.isNaN(at) || Math.abs(Date.now() - at) > maxSkewMs)
      throw new CosmosError(
        403,
        'The authorization token is not valid at the current time. Please provide a valid date.',
      )
  }
}
