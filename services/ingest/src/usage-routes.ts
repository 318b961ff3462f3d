import type { Budgets } from '@sluice/admission'
import { limitsSchema, type PlatformConfig } from '@sluice/contracts'
import { z } from 'zod'
import type { Routes } from './routes.ts'
import type { SubmitLimits } from './submit-limits.ts'

export interface UsageDeps {
  config: PlatformConfig
  budgets: Budgets
  submitLimits: SubmitLimits
}

const usageSchema = z.object({
  object: z.literal('sluice.usage'),
  tenant: z.string(),
  spend: z.object({ day_usd: z.number(), month_usd: z.number(), held_usd: z.number() }),
  budget: z.object({ day_usd: z.number().nullable(), month_usd: z.number().nullable() }),
  limits: z.object({ tenant: limitsSchema, key: limitsSchema }),
  submissions: z
    .object({ limit: z.int(), remaining: z.int(), reset_ms: z.int() })
    .nullable()
    .describe('of the asynchronous door, this minute; null without a limit'),
})

/** GET /v1/usage: what the tenant has spent, may spend, and has left this minute. */
export function usageRoutes(routes: Routes, { config, budgets, submitLimits }: UsageDeps): void {
  routes.guarded(
    {
      method: 'GET',
      path: '/v1/usage',
      tag: 'usage',
      summary: 'Spend, budget and limits of the tenant and the key',
      scope: 'read',
      answers: { 200: { description: 'usage', schema: usageSchema } },
    },
    async (caller): Promise<z.infer<typeof usageSchema>> => {
      const settings = config.tenants[caller.tenant]
      const [{ dayUsd, monthUsd, heldUsd }, left] = await Promise.all([
        budgets.spend(caller.tenant, AbortSignal.timeout(5_000)),
        submitLimits.look(caller).catch(() => undefined),
      ])
      return {
        object: 'sluice.usage',
        tenant: caller.tenant,
        spend: { day_usd: dayUsd, month_usd: monthUsd, held_usd: heldUsd },
        budget: { day_usd: settings?.budget.day_usd ?? null, month_usd: settings?.budget.month_usd ?? null },
        limits: { tenant: settings?.limits ?? {}, key: caller.limits },
        submissions:
          left === undefined
            ? null
            : { limit: left.limit, remaining: left.remaining, reset_ms: Math.ceil(left.resetMs) },
      }
    },
  )
}
