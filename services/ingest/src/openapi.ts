import { z } from 'zod'
import type { AnswerSpec, RouteSpec } from './routes.ts'

const errorSchema = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable().describe('the field at fault'),
      code: z.string().nullable(),
    }),
  })
  .describe("OpenAI's error object")

const errorAnswers: Readonly<Record<string, string>> = {
  '400': 'the input is at fault; `param` names the field',
  '413': 'the body is too large',
  '429': 'a limit is reached; `Retry-After` says for how long',
  '503': 'cannot be handled right now; `Retry-After` says when to ask again',
}
const guardedAnswers: Readonly<Record<string, string>> = { '401': 'no valid key or token', '403': 'not allowed' }

const securitySchemes = {
  bearer: { type: 'http', scheme: 'bearer', description: 'an API key or a token of Entra ID' },
  apiKey: { type: 'apiKey', in: 'header', name: 'api-key' },
  subscriptionKey: { type: 'apiKey', in: 'header', name: 'Ocp-Apim-Subscription-Key' },
}

/** OpenAPI 3.1 from the schemas that the routes validate with. */
export function openApiDocument(specs: readonly RouteSpec[]): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const spec of specs) {
    const path = (paths[spec.path.replace(/:(\w+)/g, '{$1}').replace(/\*$/, '{rest}')] ??= {})
    path[spec.method.toLowerCase()] = operationOf(spec)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Sluice',
      version: '1',
      description: 'An OpenAI-compatible door to every deployment, synchronous and queued.',
    },
    paths,
    components: { securitySchemes, schemas: { Error: jsonSchema(errorSchema, 'output') } },
  }
}

function operationOf(spec: RouteSpec): object {
  const errors = { ...errorAnswers, ...(spec.scope === undefined ? {} : guardedAnswers) }
  const named = Object.entries(spec.answers).map(([status, answer]) => [status, answerOf(answer)])
  const others = Object.entries(errors)
    .filter(([status]) => !(status in spec.answers))
    .map(([status, description]) => [status, { description, content: errorContent }])
  return {
    operationId: operationId(spec),
    tags: [spec.tag],
    summary: spec.summary,
    parameters: [
      ...[...spec.path.matchAll(/:(\w+)/g)].map(([, name]) => parameter(name ?? '', 'path', true, { type: 'string' })),
      ...(spec.path.endsWith('*') ? [parameter('rest', 'path', true, { type: 'string' })] : []),
      ...parametersOf(spec.query, 'query'),
      ...parametersOf(spec.headers, 'header'),
    ],
    ...(spec.body === undefined ? {} : { requestBody: bodyOf(spec.body, spec.bodyRequired ?? true) }),
    responses: Object.fromEntries([...named, ...others]),
    ...(spec.scope === undefined
      ? {}
      : { security: Object.keys(securitySchemes).map((name) => ({ [name]: [] })), 'x-scope': spec.scope }),
  }
}

const operationId = ({ method, path }: RouteSpec): string =>
  `${method.toLowerCase()}${path.replace(/[^A-Za-z0-9]+(.|$)/g, (_, next: string) => next.toUpperCase())}`

const errorContent = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } }

function answerOf({ description, schema, contentType = 'application/json' }: AnswerSpec): object {
  if (schema === undefined && contentType === 'application/json') return { description }
  return {
    description,
    content: { [contentType]: schema === undefined ? {} : { schema: jsonSchema(schema, 'output') } },
  }
}

const bodyOf = (body: NonNullable<RouteSpec['body']>, required: boolean): object => ({
  required,
  content: Object.fromEntries(
    Object.entries(body).map(([type, schema]) => [
      type,
      schema === undefined ? {} : { schema: jsonSchema(schema, 'input') },
    ]),
  ),
})

function parametersOf(shape: z.ZodObject | undefined, place: 'query' | 'header'): object[] {
  if (shape === undefined) return []
  const { properties = {}, required = [] } = jsonSchema(shape, 'input') as {
    properties?: Record<string, object>
    required?: string[]
  }
  return Object.entries(properties).map(([name, schema]) => parameter(name, place, required.includes(name), schema))
}

const parameter = (name: string, place: string, required: boolean, schema: object): object => ({
  name,
  in: place,
  required,
  schema,
})

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any', reused: 'inline' })
  return rest
}
