import { type Admission, assumeIdle, type Budgets, createAdmission } from '@sluice/admission'
import type { AnswerCache } from '@sluice/cache'
import { type Deployment, platformConfigSchema, type PlatformConfig, type RequestBody } from '@sluice/contracts'
import {
  createExecution,
  createRegionAffinity,
  createResponsePins,
  type Execution,
  type Outcome,
  type RunInput,
} from '@sluice/execution'
import { createModels } from '@sluice/models'
import { systemClock } from '@sluice/resilience'
import * as routing from '@sluice/routing'
import { createLogger, createMetrics, type Metrics } from '@sluice/telemetry'
import type { TwinConfigInput } from '@sluice/emulator-openai'
import { deploymentOn, type ModelTwin, startModelTwin } from './model-twin.ts'
import { type PrivateRedis, startPrivateRedis } from './private-redis.ts'

/** Twin and Redis for a file of tests; each test starts an execution of its own on them. */
export interface ExecutionBench {
  twin: ModelTwin
  redis: PrivateRedis
  start(setup: Setup): Promise<Running>
  close(): Promise<void>
}

export interface Setup {
  deployments: readonly Deployment[]
  routing?: object
  tenants?: object
  prices?: object
  cache?: AnswerCache
  budgets?: Budgets
  evictionOf?: (deployment: string) => AbortSignal | undefined
}

export interface Running {
  run: (body: RequestBody, more?: Partial<RunInput> & { signal?: AbortSignal }) => Promise<Outcome>
  /** An outcome that is an end. */
  done: (body: RequestBody, more?: Partial<RunInput>) => Promise<Extract<Outcome, { kind: 'done' }>>
  execution: Execution
  admission: Admission
  metrics: Metrics
  close: () => Promise<void>
}

export async function startExecutionBench(config: TwinConfigInput): Promise<ExecutionBench> {
  const [redis, twin] = await Promise.all([startPrivateRedis(), startModelTwin({ config })])
  return {
    twin,
    redis,
    async start(setup) {
      await redis.client.flushall()
      await assumeIdle(redis.client)
      await twin.reset()
      return running(setup, redis)
    },
    async close() {
      await twin.close()
      await redis.close()
    },
  }
}

function running(setup: Setup, redis: PrivateRedis): Running {
  const { deployments, cache, budgets, evictionOf } = setup
  const config: PlatformConfig = platformConfigSchema.parse({
    version: 1,
    routing: { thresholds: { medium: 0.2, large: 0.5 }, ...setup.routing },
    deployments,
    lanes: {},
    batches: { tenants: '*' },
    tenants: setup.tenants ?? {},
    prices: setup.prices ?? {},
  })
  const logger = createLogger({ service: 'test', destination: { write: () => undefined } })
  const metrics = createMetrics('test')
  const admission = createAdmission({ redis: redis.client, clock: systemClock, logger })
  const models = createModels({ deployments: config.deployments, clock: systemClock })
  const affinity = createRegionAffinity({ redis: redis.client, deployments, clock: systemClock })
  const pins = createResponsePins({ redis: redis.client, deployments, clock: systemClock })
  const parts = {
    evictionOf,
    config,
    routing,
    admission,
    models,
    affinity,
    pins,
    cache,
    budgets,
    logger,
    metrics,
    clock: systemClock,
  }
  const execution = createExecution(parts)
  const run: Running['run'] = (body, more = {}) => {
    const { signal = new AbortController().signal, ...input } = more
    const frame = { requestId: 'req_1', tenant: 'contoso', url: '/v1/chat/completions' as const }
    return execution.run({ ...frame, body, ...input }, signal)
  }
  return {
    run,
    async done(body, more) {
      const outcome = await run(body, more)
      if (outcome.kind !== 'done') throw new Error(`expected an end, got ${JSON.stringify(outcome)}`)
      return outcome
    },
    execution,
    admission,
    metrics,
    async close() {
      admission.close()
      await models.close()
    },
  }
}

export const chat = (content: string, more: object = {}): RequestBody => ({
  model: 'auto',
  messages: [{ role: 'user', content }],
  ...more,
})

/** A deployment of the twin with its own name at the provider and a region's suffix in ours. */
export const at = (twin: ModelTwin, name: string, resource: string, fields: Partial<Deployment> = {}): Deployment =>
  deploymentOn(twin, `${name}-${resource}`, { azure_name: name, resource, model: `m-${name}`, ...fields })
