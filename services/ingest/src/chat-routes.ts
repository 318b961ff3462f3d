import { randomUUID } from 'node:crypto'
import type { TenantShare } from '@sluice/admission'
import { AppError } from '@sluice/errors'
import type { Forwarder, ForwardHead, ForwardSink } from '@sluice/execution'
import { z } from 'zod'
import type { Caller } from './authenticate.ts'
import { clientGone } from './client-gone.ts'
import { readBody } from './read-input.ts'
import type { Routes } from './routes.ts'

/** What a chat page sends; unknown fields are left aside, because pages send their own. */
const askSchema = z.object({
  message: z.string().min(1).max(200_000),
  userId: z.string().min(1).max(256).optional(),
  sessionId: z.string().min(1).max(256).optional(),
  mode: z.enum(['chat', 'realtime']).default('chat'),
})
export type Ask = z.infer<typeof askSchema>

const answerSchema = z.looseObject({
  answer: z.string().optional(),
  tier: z.string().nullable(),
  model: z.string(),
  score: z.number().nullable(),
})

export interface ChatDeps {
  forwarder: Forwarder
  sharesOf: (caller: Caller) => readonly TenantShare[]
  /** Answers `mode: "realtime"`: the model that was chosen, a token of short life and where to connect. */
  realtime?: ((caller: Caller, ask: Ask) => Promise<object>) | undefined
}

/** POST /api/ModelRouter: one message in, one answer out, and what the router chose for it. */
export function chatRoutes(routes: Routes, deps: ChatDeps): void {
  routes.guarded(
    {
      method: 'POST',
      path: '/api/ModelRouter',
      tag: 'chat',
      summary: 'Answers a message and says what was chosen for it',
      scope: 'submit',
      body: { 'application/json': askSchema },
      answers: { 200: { description: 'the answer', schema: answerSchema } },
    },
    async (caller, request, reply) => {
      const ask = readBody(askSchema, request)
      if (ask.mode === 'realtime') {
        if (deps.realtime !== undefined) return deps.realtime(caller, ask)
        throw new AppError('no_route', 'mode: no realtime deployment is configured', { param: 'mode' })
      }
      const messages = [{ role: 'user', content: ask.message }]
      const body = { model: 'auto', messages, ...(ask.userId === undefined ? {} : { user: ask.userId }) }
      const sink = new CollectingSink(clientGone(reply))
      const { tenant } = caller
      const report = await deps.forwarder.forward(
        {
          requestId: randomUUID(),
          tenant,
          url: '/v1/chat/completions',
          body,
          payload: {
            contentType: 'application/json',
            stripUsage: false,
            bytes: (model, added) => Buffer.from(JSON.stringify({ ...body, model, ...added })),
          },
          shares: deps.sharesOf(caller),
          conversation: ask.sessionId,
        },
        sink,
      )
      if (report.error !== undefined) throw report.error
      const { content, model } = sink.answer()
      return {
        answer: content,
        tier: report.deployment?.tier ?? null,
        model,
        score: report.score,
        deployment: report.deployment?.name ?? null,
        region: report.deployment?.region ?? null,
        why: report.why,
        sessionId: ask.sessionId ?? null,
      }
    },
  )
}

const completionSchema = z.looseObject({
  model: z.string(),
  choices: z.array(z.looseObject({ message: z.looseObject({ content: z.string().nullish() }) })).min(1),
})

/** Keeps the answer of a forwarded call, within what a message can be. */
class CollectingSink implements ForwardSink {
  readonly #gone: AbortSignal
  readonly #chunks: Buffer[] = []
  #bytes = 0
  onDrain: (() => void) | undefined

  constructor(gone: AbortSignal) {
    this.#gone = gone
  }

  get closed(): boolean {
    return this.#gone.aborted || this.#bytes > 16 * 1024 * 1024
  }

  set onClose(listener: (() => void) | undefined) {
    if (listener !== undefined) this.#gone.addEventListener('abort', listener, { once: true })
  }

  start(_head: ForwardHead): void {}

  write(chunk: Buffer): boolean {
    this.#bytes += chunk.length
    this.#chunks.push(chunk)
    return true
  }

  end(last?: Buffer): void {
    if (last !== undefined) this.write(last)
  }

  cut(): void {}

  answer(): { content: string; model: string } {
    const text = Buffer.concat(this.#chunks).toString('utf8')
    try {
      const { model, choices } = completionSchema.parse(JSON.parse(text))
      return { content: choices[0]?.message.content ?? '', model }
    } catch (cause) {
      throw new AppError('model_unavailable', 'The model gave no chat completion.', { cause })
    }
  }
}
