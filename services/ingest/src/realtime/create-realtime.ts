import type { Server } from 'node:http'
import type { Admission, BudgetCheck, Budgets, TenantShare } from '@sluice/admission'
import type { Deployment, PlatformConfig } from '@sluice/contracts'
import type { Clock } from '@sluice/resilience'
import type { Logger, Metrics } from '@sluice/telemetry'
import type { Redis } from 'ioredis'
import type { Authenticate, Caller } from '../authenticate.ts'
import { type ClientSecret, type ClientSecretDeps, issueClientSecret } from './client-secrets.ts'
import { createEphemeralTokens } from './ephemeral-tokens.ts'
import { openRealtimeDoor, type RealtimeDoor } from './realtime-door.ts'
import { createSessionLog } from './session-log.ts'

export interface RealtimeOptions {
  config: PlatformConfig
  authenticate: Authenticate
  admission: Admission
  budgets: Budgets
  checkBudget: BudgetCheck
  apiKeyOf: (deployment: Deployment) => string
  redis: Redis
  sharesOf: (caller: Caller) => readonly TenantShare[]
  clock: Clock
  logger: Logger
  metrics: Metrics
  idleMs: number
  modelWaitMs: number
}

export interface Realtime {
  /** What the routes of realtime need. */
  secrets: ClientSecretDeps
  /** The chat front's `mode: "realtime"`: a token for the model that suits the first message. */
  invite(caller: Caller, ask: { message: string }): Promise<object>
  /** Serves the WebSockets of a server. */
  serve(server: Server): RealtimeDoor
}

/** Realtime sessions: their tokens and their WebSockets. */
export function createRealtime(options: RealtimeOptions): Realtime {
  const { config, apiKeyOf, clock, logger, metrics, budgets, idleMs } = options
  const tokens = createEphemeralTokens(options.redis)
  const secrets: ClientSecretDeps = { config, tokens, apiKeyOf, checkBudget: options.checkBudget }
  return {
    secrets,
    async invite(caller, { message }) {
      const session = { type: 'realtime', instructions: message }
      const { value, expires_at, sluice }: ClientSecret = await issueClientSecret(secrets, caller, { session })
      return { ...sluice, token: value, expires_at }
    },
    serve: (server) =>
      openRealtimeDoor(server, {
        ...options,
        tokens,
        sessions: createSessionLog({ config, budgets, clock, logger, metrics, idleMs }),
      }),
  }
}
