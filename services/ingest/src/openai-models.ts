import { type PlatformConfig, tierNames } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { z } from 'zod'
import type { Routes } from './routes.ts'

const modelSchema = z.object({
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.string().describe('`sluice` for what the router resolves, else who serves it'),
  sluice: z.object({
    kind: z.enum(['auto', 'tier', 'alias', 'model', 'deployment']),
    regions: z.array(z.string()),
    urls: z.array(z.string()),
  }),
})
type Model = z.infer<typeof modelSchema>

/** Everything that a call may name as its model: `auto`, tiers, aliases, models, deployments. */
export function modelRoutes(routes: Routes, config: Pick<PlatformConfig, 'deployments' | 'routing'>): void {
  const models = modelsOf(config, Math.floor(Date.now() / 1000))
  const list = { object: 'list', data: [...models.values()] }
  for (const [index, prefix] of ['/v1', '/openai/v1', '/openai', '/openai-realtime/v1', '/openai-realtime'].entries()) {
    const common = { method: 'GET', tag: 'openai', scope: 'submit', undocumented: index > 0 } as const
    const listed = { object: z.literal('list'), data: z.array(modelSchema) }
    routes.guarded(
      {
        ...common,
        path: `${prefix}/models`,
        summary: 'What a call may name as its model',
        answers: { 200: { description: 'the models', schema: z.object(listed) } },
      },
      async () => list,
    )
    routes.guarded(
      {
        ...common,
        path: `${prefix}/models/:id`,
        summary: 'One of them',
        answers: { 200: { description: 'the model', schema: modelSchema } },
      },
      async (_caller, request) => {
        const { id } = request.params as { id: string }
        const model = models.get(id)
        if (model !== undefined) return model
        throw new AppError('model_not_found', `The model ${JSON.stringify(id)} does not exist.`, { param: 'model' })
      },
    )
  }
}

type Deployments = PlatformConfig['deployments']

function modelsOf({ deployments, routing }: Pick<PlatformConfig, 'deployments' | 'routing'>, created: number) {
  const models = new Map<string, Model>()
  const add = (id: string, kind: Model['sluice']['kind'], behind: Deployments) => {
    // Of a model and a deployment of the same name a call means the model.
    if (models.has(id) || behind.length === 0) return
    const regions = [...new Set(behind.map(({ region }) => region))]
    const urls = [...new Set(behind.flatMap(({ urls }) => urls))]
    const owner = kind === 'model' || kind === 'deployment' ? 'azure' : 'sluice'
    models.set(id, { id, object: 'model', created, owned_by: owner, sluice: { kind, regions, urls } })
  }
  add('auto', 'auto', deployments)
  for (const tier of tierNames)
    add(
      tier,
      'tier',
      deployments.filter((one) => one.tier === tier),
    )
  for (const [alias, targets] of Object.entries(routing.aliases)) {
    const named = [targets].flat()
    add(
      alias,
      'alias',
      deployments.filter(({ name, model }) => named.includes(name) || named.includes(model)),
    )
  }
  for (const { model } of deployments)
    add(
      model,
      'model',
      deployments.filter((one) => one.model === model),
    )
  for (const one of deployments) add(one.name, 'deployment', [one])
  return models
}
