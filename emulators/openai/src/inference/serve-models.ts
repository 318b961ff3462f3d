import { notFound } from '../http/azure-error.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Json } from '../json-fields.ts'
import { familyOf } from '../http/request-fields.ts'

const createdAt = 1_735_689_600

function baseModel(id: string, version: string | undefined): Json {
  const family = familyOf(id)
  return {
    id: version === undefined ? id : `${id}-${version}`,
    object: 'model',
    created: createdAt,
    created_at: createdAt,
    owned_by: 'azure',
    status: 'succeeded',
    lifecycle_status: 'generally-available',
    capabilities: {
      fine_tune: false,
      inference: true,
      completion: family === 'chat',
      chat_completion: family === 'chat',
      embeddings: family === 'embeddings',
    },
  }
}

/**
 * Lists what the resource offers: Azure's paths list base models, the plain /v1 path of an OpenAI-compatible server
 * lists deployments, because there the deployment's name is the model.
 */
export async function serveModels(exchange: Exchange, id: string | undefined, plain: boolean): Promise<void> {
  await exchange.meet(undefined)
  const deployments = [...exchange.resource.deployments.values()].map((deployment) => deployment.settings)
  const models = new Map<string, Json>()
  for (const { name, model, model_version: version } of deployments) {
    const entry = plain
      ? { id: name, object: 'model', created: createdAt, owned_by: 'twin', root: model }
      : baseModel(model, version)
    models.set(entry['id'] as string, entry)
  }
  if (id === undefined) return exchange.json({ object: 'list', data: [...models.values()] })
  const found = models.get(id)
  if (!found) throw notFound(`The model '${id}' does not exist`, 'model')
  return exchange.json(found)
}
