import type { BudgetCheck } from '@sluice/admission'
import type { Deployment, PlatformConfig } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { request } from 'undici'
import { z } from 'zod'
import type { Caller } from '../authenticate.ts'
import { chooseDeployments, type SessionWish } from './choose-deployments.ts'
import type { EphemeralTokens } from './ephemeral-tokens.ts'

export const clientSecretBody = z.looseObject({
  expires_after: z
    .looseObject({ anchor: z.literal('created_at').optional(), seconds: z.int().min(10).max(7200).optional() })
    .optional(),
  session: z
    .looseObject({
      type: z.string().optional(),
      model: z.string().min(1).max(256).optional(),
      instructions: z.string().optional(),
      tools: z.array(z.unknown()).optional(),
    })
    .optional(),
})

const upstreamSecret = z.looseObject({ value: z.string(), expires_at: z.number(), session: z.unknown().optional() })

/** An ephemeral token and where a browser may take it. */
export const clientSecret = upstreamSecret.extend({
  sluice: z.object({
    deployment: z.string(),
    model: z.string(),
    region: z.string(),
    webrtc_url: z
      .string()
      .nullable()
      .describe('for WebRTC straight to Azure; null where the region has none configured'),
    websocket_path: z.string().describe('for a WebSocket through Sluice, the token as sub-protocol'),
  }),
})
export type ClientSecret = z.infer<typeof clientSecret>

export interface ClientSecretDeps {
  config: PlatformConfig
  tokens: EphemeralTokens
  apiKeyOf: (deployment: Deployment) => string | Promise<string>
  /** Throws when the tenant's money is spent. */
  checkBudget: BudgetCheck
}

const deadlineMs = 10_000
const mostBytes = 1024 * 1024

/**
 * A token with which a browser opens one realtime session: it is the provider's own, so that WebRTC goes straight to
 * Azure, and Sluice remembers whose it is, so that it also opens a WebSocket here.
 * @throws AppError `model_not_found`, `no_route`, `budget_exceeded`, or the last deployment's refusal
 */
export async function issueClientSecret(
  deps: ClientSecretDeps,
  caller: Pick<Caller, 'tenant' | 'principal' | 'limits'>,
  body: z.infer<typeof clientSecretBody>,
): Promise<ClientSecret> {
  const { tenant, principal, limits } = caller
  await deps.checkBudget(tenant)
  const { model, instructions, tools } = body.session ?? {}
  const wish: SessionWish = { model, instructions, tools }
  let refusal: unknown
  for (const deployment of chooseDeployments(deps.config, wish)) {
    try {
      const secret = await ask(deps, deployment, body)
      await deps.tokens.remember(
        secret.value,
        { tenant, principal, limits, deployment: deployment.name },
        secret.expires_at * 1000,
      )
      return {
        ...secret,
        sluice: {
          deployment: deployment.name,
          model: deployment.model,
          region: deployment.region,
          webrtc_url: deployment.webrtc_url ?? null,
          websocket_path: `/v1/realtime?model=${encodeURIComponent(deployment.name)}`,
        },
      }
    } catch (error) {
      if (!(error instanceof AppError) || error.disposition !== 'fail_over') throw error
      refusal = error
    }
  }
  throw refusal
}

async function ask(
  { apiKeyOf }: ClientSecretDeps,
  deployment: Deployment,
  body: z.infer<typeof clientSecretBody>,
): Promise<z.infer<typeof upstreamSecret>> {
  const key = await apiKeyOf(deployment)
  const model = deployment.azure_name ?? deployment.name
  const session = { type: 'realtime', ...body.session, model }
  try {
    const answer = await request(`${deployment.endpoint.replace(/\/$/, '')}/realtime/client_secrets`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'api-key': key, authorization: `Bearer ${key}` },
      body: JSON.stringify({ ...body, session }),
      signal: AbortSignal.timeout(deadlineMs),
    })
    const bytes = await answer.body.bytes()
    if (bytes.byteLength > mostBytes) throw new Error('the answer is too large')
    const text = Buffer.from(bytes).toString('utf8')
    if (answer.statusCode === 200) return upstreamSecret.parse(JSON.parse(text))
    throw refused(deployment, answer.statusCode, text)
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError('model_unavailable', `${deployment.name} issued no token.`, { cause })
  }
}

function refused(deployment: Deployment, status: number, text: string): AppError {
  if (status === 400) {
    const { message, param } = errorIn(text)
    return new AppError('model_rejected', message ?? 'The deployment refused the session.', {
      ...(param === undefined ? {} : { param }),
    })
  }
  if (status === 429) return new AppError('model_rate_limited', `${deployment.name} refused with 429.`)
  return new AppError('model_unavailable', `${deployment.name} refused with ${status}.`)
}

function errorIn(text: string): { message?: string; param?: string } {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown; param?: unknown } }
    return {
      ...(typeof error?.message === 'string' ? { message: error.message } : {}),
      ...(typeof error?.param === 'string' ? { param: error.param } : {}),
    }
  } catch {
    return {}
  }
}
