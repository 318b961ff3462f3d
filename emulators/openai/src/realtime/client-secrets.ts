import { randomBytes } from 'node:crypto'
import { deploymentNotFound, invalidRequest } from '../http/azure-error.ts'
import type { Exchange } from '../http/exchange.ts'
import { isObject, numberOf, objectOf, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { readJson } from '../http/request-body.ts'
import { missing, requireOperation } from '../http/request-fields.ts'
import type { VirtualClock } from '../virtual-clock.ts'
import { betaSession, defaultSession, mergeSession } from './session-settings.ts'
import type { SessionSettings } from './session-settings.ts'

interface Secret {
  resource: string
  expiresAt: number
  session: SessionSettings
}

const maxSecrets = 10_000

/** Ephemeral tokens: each opens realtime sessions of one resource with prepared settings until it expires. */
export class ClientSecrets {
  readonly #clock: VirtualClock
  readonly #secrets = new Map<string, Secret>()

  constructor(clock: VirtualClock) {
    this.#clock = clock
  }

  issue(resource: string, session: SessionSettings, seconds: number): { value: string; expiresAt: number } {
    const value = `ek_${randomBytes(24).toString('hex')}`
    const expiresAt = this.#clock.now() + seconds * 1000
    this.#secrets.set(value, { resource, expiresAt, session })
    const oldest = this.#secrets.size > maxSecrets ? this.#secrets.keys().next() : undefined
    if (oldest?.done === false) this.#secrets.delete(oldest.value)
    return { value, expiresAt: Math.floor(expiresAt / 1000) }
  }

  /** The prepared session of a token that is good for this resource now. */
  redeem(resource: string, value: string): SessionSettings | undefined {
    const secret = this.#secrets.get(value)
    return secret?.resource === resource && secret.expiresAt > this.#clock.now() ? secret.session : undefined
  }

  clear(): void {
    this.#secrets.clear()
  }
}

/** POST /realtime/client_secrets, and the preview's /realtimeapi/sessions, which has the session at the top level. */
export async function serveClientSecrets(exchange: Exchange, beta: boolean): Promise<void> {
  const { twin, resource } = exchange
  const body = await readJson(exchange.req)
  const wanted: Json = beta ? body : objectOf(body['session'])
  const name = textOf(wanted['model'])
  if (name === undefined) throw missing(beta ? 'model' : 'session.model')
  const deployment = resource.deployments.get(name)
  if (!deployment) throw deploymentNotFound()
  await exchange.meet(deployment)
  requireOperation(deployment.settings, 'realtime')
  const expiry = body['expires_after']
  const seconds = isObject(expiry) ? numberOf(expiry['seconds']) : beta ? 60 : 600
  if (seconds === undefined || seconds < 10 || seconds > 7_200) {
    throw invalidRequest(
      'Invalid expires_after.seconds: expected a value between 10 and 7200.',
      'expires_after.seconds',
      'invalid_value',
    )
  }
  const session = mergeSession(defaultSession(name), wanted, beta)
  const { value, expiresAt } = twin.secrets.issue(resource.settings.name, session, seconds)
  if (beta) return exchange.json({ ...betaSession(session), client_secret: { value, expires_at: expiresAt } })
  return exchange.json({ value, expires_at: expiresAt, session })
}
