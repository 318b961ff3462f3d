import { assumeIdle, createAdmission } from '@sluice/admission'
import { type PlatformConfig, platformConfigSchema } from '@sluice/contracts'
import { startOpenAITwin } from '@sluice/emulator-openai'
import { createExecution } from '@sluice/execution'
import { createModels } from '@sluice/models'
import { systemClock } from '@sluice/resilience'
import * as routing from '@sluice/routing'
import { createLogger, createMetrics } from '@sluice/telemetry'
import { startPrivateRedis } from '../../tests/integration/private-redis.ts'
import { type BenchPrompt, benchPrompts } from './prompts.ts'

/** US dollars for all prompts, and the share of right answers as the twin knows it. */
export interface PolicyFigures {
  cost_usd: number
  quality: number
}

// A small open model, a mini and a large one, with the prices of config/sluice.yaml. The twin is right with a probability
// that falls with a prompt's difficulty and rises with a model's ability.
const tiers = [
  { tier: 'small', model: 'phi-4-mini', ability: 0.62, price: { input: 0.075, output: 0.3 } },
  { tier: 'medium', model: 'gpt-4.1-mini', ability: 0.85, price: { input: 0.4, output: 1.6 } },
  { tier: 'large', model: 'gpt-4.1', ability: 0.96, price: { input: 2, output: 8 } },
] as const
const concurrency = 16

/** Runs the same prompts through `execution.run` under each policy: always large, by score, and with a cascade. */
export async function compareOnTwin(
  prompts: number,
): Promise<Record<'always_large' | 'router' | 'cascade', PolicyFigures>> {
  const redis = await startPrivateRedis()
  const deployments = tiers.map(({ model, ability }) => ({ name: model, model, ability }))
  const twin = await startOpenAITwin({ config: { resources: [{ name: 'bench', deployments }] }, seed: 7 })
  try {
    await assumeIdle(redis.client)
    const asked = benchPrompts(prompts)
    const measure = (model: string, cascade: boolean) =>
      measurePolicy({ url: twin.url, redis: redis.client, model, cascade, prompts: asked })
    return {
      always_large: await measure('large', false),
      router: await measure('auto', false),
      cascade: await measure('auto', true),
    }
  } finally {
    await twin.close()
    await redis.close()
  }
}

interface Policy {
  url: string
  redis: Awaited<ReturnType<typeof startPrivateRedis>>['client']
  model: string
  cascade: boolean
  prompts: readonly BenchPrompt[]
}

async function measurePolicy({ url, redis, model, cascade, prompts }: Policy): Promise<PolicyFigures> {
  await fetch(`${url}/_control/reset`, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } })
  const config = configFor(url, cascade)
  const clock = systemClock
  const logger = createLogger({ service: 'bench', destination: { write: () => undefined } })
  const admission = createAdmission({ redis, clock, logger })
  const models = createModels({ deployments: config.deployments, clock })
  const metrics = createMetrics('bench')
  const execution = createExecution({ config, routing, admission, models, logger, metrics, clock })
  const used = new Map<string, string | null>()
  let costUsd = 0
  const ask = async ({ content, difficulty }: BenchPrompt, index: number) => {
    const requestId = `bench-${index}`
    const messages = [{ role: 'user', content: `${content} [difficulty=${difficulty}]` }]
    const input = { requestId, tenant: 'bench', url: '/v1/chat/completions' as const, body: { model, messages } }
    const outcome = await execution.run(input, AbortSignal.timeout(30_000))
    if (outcome.kind !== 'done' || outcome.status !== 'succeeded') throw new Error(JSON.stringify(outcome))
    costUsd += outcome.costUsd
    used.set(requestId, outcome.decision.deployment)
  }
  const queue = prompts.entries()
  const work = async () => {
    for (const [index, prompt] of queue) await ask(prompt, index)
  }
  await Promise.all(Array.from({ length: concurrency }, work))
  admission.close()
  await models.close()

  const answer = await fetch(`${url}/_control/calls?limit=50000`)
  const { calls } = (await answer.json()) as { calls: Call[] }
  const right = calls.filter((call) => call.right && used.get(call.client_request_id ?? '') === call.deployment)
  return { cost_usd: Math.round(costUsd * 1e6) / 1e6, quality: Math.round((right.length / prompts.length) * 1e4) / 1e4 }
}

interface Call {
  deployment: string | null
  client_request_id: string | null
  right: boolean | null
}

const configFor = (url: string, cascade: boolean): PlatformConfig =>
  platformConfigSchema.parse({
    version: 1,
    routing: { thresholds: { medium: 0.16, large: 0.45 }, cascade: { enabled: cascade } },
    deployments: tiers.map(({ tier, model, price }) => ({
      name: model,
      tier,
      model,
      region: 'bench',
      endpoint: `${url}/r/bench/openai/v1`,
      api_key: 'twin-key-bench',
      quota: { tokens_per_minute: 1_000_000_000, requests_per_minute: 100_000_000 },
      price,
    })),
    lanes: {},
    batches: { tenants: '*' },
  })
