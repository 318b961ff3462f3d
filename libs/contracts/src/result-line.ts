import { z } from 'zod'
import { bodyRefSchema, tierNames } from './request-line.ts'

/** The statuses that end a request; nothing follows them. */
export const terminalStatuses = ['succeeded', 'failed', 'cancelled', 'expired'] as const
export type TerminalStatus = (typeof terminalStatuses)[number]

const attemptSchema = z.object({
  deployment: z.string(),
  region: z.string().optional(),
  status: z.int().describe('HTTP status of the call; 0 when no answer came'),
  code: z.string().optional().describe('Sluice error code of a failed attempt'),
  ms: z.number().nonnegative(),
  confidence: z.number().min(0).max(1).optional().describe('in an answer of a cascade; too little escalates'),
})
/** One call of a deployment within a request. */
export type Attempt = z.infer<typeof attemptSchema>

const decisionSchema = z.object({
  score: z.number().min(0).max(1).nullable(),
  tier: z.enum(tierNames).nullable(),
  model: z.string().nullable(),
  deployment: z.string().nullable(),
  region: z.string().nullable(),
  why: z.string(),
  attempts: z.array(attemptSchema),
  cache: z.enum(['off', 'miss', 'hit']),
  escalated: z.boolean(),
})
/** What the router decided, and every call that came of it. */
export type Decision = z.infer<typeof decisionSchema>

const usageSchema = z.object({
  input_tokens: z.int().nonnegative(),
  cached_tokens: z.int().nonnegative(),
  output_tokens: z.int().nonnegative(),
  reasoning_tokens: z.int().nonnegative().default(0).describe('the part of output_tokens that was reasoning'),
})
/** Tokens as the answering deployments counted them, summed over attempts. */
export type Usage = z.infer<typeof usageSchema>

const responseSchema = z.object({
  status_code: z.int(),
  request_id: z.string(),
  body: z.unknown().optional(),
  content_type: z.string().optional().describe('of a body that is a text and not JSON, such as subtitles'),
  body_ref: bodyRefSchema.extend({ url: z.string().optional() }).optional(),
})
const resultErrorSchema = z.object({ code: z.string(), message: z.string(), param: z.string().nullable().optional() })

export const resultLineSchema = z.object({
  id: z.string(),
  custom_id: z.string(),
  response: responseSchema.nullable(),
  error: resultErrorSchema.nullable(),
  sluice: z.object({
    tenant: z.string(),
    status: z.enum(terminalStatuses),
    decision: decisionSchema.nullable(),
    usage: usageSchema,
    cost_usd: z.number().nonnegative(),
    waste_usd: z.number().nonnegative().optional().describe('the part of cost_usd for answers that were not used'),
    timings_ms: z.object({
      queued: z.number().describe('accepted to first claimed'),
      model: z.number().describe('spent in calls of deployments'),
      total: z.number().describe('accepted to terminal'),
    }),
  }),
})
/** A result: OpenAI's Batch output line plus what Sluice decided. */
export type ResultLine = z.infer<typeof resultLineSchema>

export const emptyUsage: Usage = { input_tokens: 0, cached_tokens: 0, output_tokens: 0, reasoning_tokens: 0 }
