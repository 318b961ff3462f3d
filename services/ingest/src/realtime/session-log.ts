import type { Budgets } from '@sluice/admission'
import type { PlatformConfig } from '@sluice/contracts'
import { AppError, openAIErrorBody } from '@sluice/errors'
import { type Clock, sleep } from '@sluice/resilience'
import type { Logger, Metrics } from '@sluice/telemetry'
import type { WebSocket } from 'ws'
import type { Upstream } from './open-upstream.ts'
import { type Frame, relay } from './relay.ts'
import { sessionCostUsd, usageIn } from './session-usage.ts'

export interface SessionLogOptions {
  config: PlatformConfig
  budgets?: Budgets | undefined
  clock: Clock
  logger: Logger
  metrics: Metrics
  idleMs: number
}

export interface NewSession {
  client: WebSocket
  upstream: Upstream
  tenant: string
  /** What the client sent before the upstream was open. */
  held: readonly Frame[]
}

/** The open realtime sessions: relayed, counted and, at the end, closed. */
export interface SessionLog {
  begin(session: NewSession): void
  /** Waits up to `graceMs` for sessions to end, then ends the others with an error event. */
  close(graceMs: number): Promise<void>
}

// What a session is asked to have left before it begins, and again after each response.
const oneResponseUsd = 0.01

export function createSessionLog(options: SessionLogOptions): SessionLog {
  const { config, budgets, clock, logger, metrics, idleMs } = options
  const open = new Set<(code: number, error: object) => void>()
  const sessions = metrics.gauge({
    name: 'sluice_realtime_sessions',
    help: 'Open realtime sessions, by deployment',
    labels: ['deployment'],
  })
  const tokens = metrics.counter({
    name: 'sluice_realtime_tokens_total',
    help: 'Tokens of realtime responses as the deployment counted them; cached ones are part of the input',
    labels: ['deployment', 'kind'],
  })
  const cost = metrics.counter({
    name: 'sluice_realtime_cost_usd_total',
    help: 'Cost of realtime responses in US dollars',
    labels: ['deployment'],
  })

  return {
    begin({ client, upstream, tenant, held }) {
      const { deployment } = upstream
      const label = { deployment: deployment.name }
      const startedMs = clock.monotonic()
      let totalUsd = 0
      let responses = 0
      let end: (code: number, error: object) => void = () => {}

      const charge = async (usd: number) => {
        if (budgets === undefined) return
        const budget = config.tenants[tenant]?.budget ?? {}
        const room = await budgets.reserve({ tenant, estimateUsd: Math.max(usd, oneResponseUsd), budget })
        if (room.kind === 'held') return room.hold.commit(usd)
        const error = new AppError('budget_exceeded', `The tenant's ${room.period} budget is spent.`)
        end(1008, openAIErrorBody(error).error)
      }

      sessions.inc(label)
      logger.info({ tenant, deployment: deployment.name }, 'realtime session opened')
      end = relay({
        client,
        upstream: upstream.socket,
        held,
        idleMs,
        clock,
        onUpstreamEvent: (frame) => {
          const usage = usageIn(frame)
          if (usage === undefined) return
          const usd = sessionCostUsd(deployment, usage)
          totalUsd += usd
          responses++
          tokens.inc({ ...label, kind: 'input' }, usage.input_tokens)
          tokens.inc({ ...label, kind: 'cached' }, usage.cached_tokens)
          tokens.inc({ ...label, kind: 'output' }, usage.output_tokens)
          cost.inc(label, usd)
          charge(usd).catch((err: unknown) => logger.warn({ err, tenant }, 'a response could not be charged'))
        },
        onEnd: (why) => {
          open.delete(end)
          sessions.dec(label)
          // How long people talk says nothing about the deployment: what it is judged by is the handshake.
          upstream.end({ outcome: 'ok', ms: upstream.handshakeMs })
          const ms = Math.round(clock.monotonic() - startedMs)
          logger.info(
            { tenant, deployment: deployment.name, why, ms, responses, costUsd: totalUsd },
            'realtime session ended',
          )
        },
      })
      open.add(end)
      // Each was paused while nobody listened.
      upstream.socket.resume()
      client.resume()
    },

    async close(graceMs) {
      const until = clock.monotonic() + graceMs
      while (open.size > 0 && clock.monotonic() < until) await sleep(Math.min(50, graceMs), { clock })
      const error = openAIErrorBody(new AppError('shutting_down', 'The server is shutting down: connect again.')).error
      for (const end of open) end(1012, error)
    },
  }
}
