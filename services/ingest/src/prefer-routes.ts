import { z } from 'zod'
import type { SubmitDeps } from './enqueue-line.ts'
import { preferAsync } from './prefer-async.ts'
import type { ReadDeps } from './read-requests.ts'
import { requestViewSchema } from './request-view.ts'
import type { Routes } from './routes.ts'

const prefer = z.object({
  prefer: z
    .string()
    .optional()
    .describe('`respond-async` answers 202; with `wait=10` the answer, if it is there within 10 s'),
  'idempotency-key': z.string().min(1).max(255).optional().describe('with `Prefer: respond-async`'),
})
const sluice = z.looseObject({}).optional().describe('options of a request line: tier, region, priority, deadline, …')
const common = { model: z.string().optional(), stream: z.boolean().nullish(), sluice }
const input = z.union([z.string(), z.array(z.unknown()).min(1)])

const operations = [
  {
    path: '/v1/chat/completions',
    summary: 'Chat completions',
    body: z.looseObject({ ...common, messages: z.array(z.looseObject({ role: z.string() })).min(1) }),
  },
  { path: '/v1/responses', summary: 'Responses', body: z.looseObject({ ...common, input }) },
  { path: '/v1/embeddings', summary: 'Embeddings', body: z.looseObject({ ...common, input }) },
]

/**
 * The OpenAI routes as far as they are queued: without the preference they are answered before this framework is asked.
 * They are described here for both cases.
 */
export function preferRoutes(routes: Routes, deps: SubmitDeps & ReadDeps): void {
  for (const { path, summary, body } of operations) {
    routes.guarded(
      {
        method: 'POST',
        path,
        tag: 'openai',
        summary,
        scope: 'submit',
        headers: prefer,
        body: { 'application/json': body },
        answers: {
          200: { description: "OpenAI's answer; server-sent events with `stream`", schema: z.looseObject({}) },
          202: { description: 'queued', schema: requestViewSchema },
        },
      },
      (caller, request, reply) => preferAsync(deps, caller, request, reply),
    )
  }
  const queued = { 202: { description: 'queued', schema: requestViewSchema } }
  routes.guarded(
    {
      method: 'POST',
      path: '/v1/audio/speech',
      tag: 'openai',
      summary: 'Speech from a text',
      scope: 'submit',
      headers: prefer,
      body: {
        'application/json': z.looseObject({ ...common, input: z.string().min(1), voice: z.string().optional() }),
      },
      answers: { 200: { description: 'the sound', contentType: 'audio/mpeg' }, ...queued },
    },
    (caller, request, reply) => preferAsync(deps, caller, request, reply),
  )
  routes.guarded(
    {
      method: 'POST',
      path: '/v1/audio/transcriptions',
      tag: 'openai',
      summary: 'Text from speech',
      scope: 'submit',
      headers: prefer,
      body: { 'multipart/form-data': undefined },
      answers: {
        200: { description: 'the text, in the `response_format` asked for', schema: z.looseObject({}) },
        ...queued,
      },
    },
    (caller, request, reply) => preferAsync(deps, caller, request, reply),
  )
  // Azure's spellings of the same; the path is read where a synchronous call's is.
  for (const path of ['/openai/*', '/openai-realtime/*']) {
    routes.guarded(
      { method: 'POST', path, tag: 'openai', summary: 'Queued', scope: 'submit', answers: {}, undocumented: true },
      (caller, request, reply) => preferAsync(deps, caller, request, reply),
    )
  }
}
