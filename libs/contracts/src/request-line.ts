import { z } from 'zod'

/** A line's schema version; readers accept this one and the one before it. */
export const lineVersion = 1

/** The endpoints that a queued line may name. */
export const lineUrls = [
  '/v1/chat/completions',
  '/v1/responses',
  '/v1/embeddings',
  '/v1/audio/speech',
  '/v1/audio/transcriptions',
] as const
export type LineUrl = (typeof lineUrls)[number]

/** Whether the Batch API takes an endpoint; sound it does not. */
export const isBatchUrl = (url: LineUrl): boolean => !url.startsWith('/v1/audio/')

export const priorities = ['interactive', 'standard', 'bulk'] as const
export type Priority = (typeof priorities)[number]

export const tierNames = ['small', 'medium', 'large'] as const
export type TierName = (typeof tierNames)[number]

// Tenants appear in blob paths, SignalR user ids (`<tenant>|<user>`) and partition keys: no separators of those.
export const tenantSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/i, 'must be 1 to 63 letters, digits, dots, dashes or underscores')

const shortText = z.string().min(1).max(256)
const region = z.string().regex(/^[a-z0-9-]{1,64}$/)

export const deliverTargetSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('webhook'), url: z.url({ protocol: /^https?$/ }).max(2048) }),
  z
    .strictObject({
      type: z.literal('signalr'),
      user: shortText.optional(),
      group: shortText.optional(),
      connection: shortText.optional(),
    })
    .refine(({ user, group, connection }) => [user, group, connection].filter(Boolean).length === 1, {
      error: 'name exactly one of user, group and connection',
      path: ['user'],
    }),
  z.strictObject({ type: z.literal('event-hubs') }),
  z.strictObject({ type: z.literal('service-bus'), queue: shortText, session_id: z.string().max(128).optional() }),
])
/** Where a result goes. SignalR users and groups are scoped to the tenant; queues must be on the allow-list. */
export type DeliverTarget = z.infer<typeof deliverTargetSchema>

export const sluiceOptionsSchema = z.strictObject({
  version: z.literal(lineVersion).optional(),
  tenant: tenantSchema.optional(),
  priority: z.enum(priorities).optional(),
  deadline: z.iso.datetime({ offset: true }).optional(),
  conversation: z.string().min(1).max(128).optional(),
  session_id: shortText.optional(),
  call_connection_id: shortText.optional(),
  region: z
    .strictObject({ only: z.array(region).min(1).max(16).optional(), prefer: z.array(region).max(16).optional() })
    .optional(),
  tier: z.strictObject({ min: z.enum(tierNames).optional(), max: z.enum(tierNames).optional() }).optional(),
  max_cost_usd: z.number().positive().finite().optional(),
  cache: z.enum(['off', 'exact', 'semantic']).optional(),
  deliver: z.array(deliverTargetSchema).max(16).optional(),
})
/** Sluice's part of a line: who asks, how urgent, where it may run, what it may cost and where the result goes. */
export type SluiceOptions = z.infer<typeof sluiceOptionsSchema>

export const bodyRefSchema = z.strictObject({
  blob: z.string().min(1).max(1024),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.int().nonnegative(),
  content_type: z.string().min(1).max(256),
})
/** A claim check: the body lies in Blob Storage under `<tenant>/`. */
export type BodyRef = z.infer<typeof bodyRefSchema>

// Both end up in the head of a part of a multipart body.
const headText = z.string().regex(/^[^\p{Cc}]+$/u, 'must be text without control characters')

// More than twice what providers take.
const maxFileBytes = 64 * 1024 * 1024

const fileRefSchema = bodyRefSchema.extend({
  bytes: z.int().positive().max(maxFileBytes),
  content_type: headText.max(256),
  filename: headText.min(1).max(255).optional().describe('its ending names the format'),
})
/** A claim check for the file of a multipart call, under `<tenant>/` too. */
export type FileRef = z.infer<typeof fileRefSchema>

const message = z.looseObject({ role: z.string().min(1) })

// Only what routing and accounting read is validated; everything else passes through untouched, so that a field which
// Azure adds tomorrow works today.
const common = { model: z.string().min(1).max(256).default('auto'), stream: z.boolean().nullish() }
/** Nobody would follow such a response to its end, and count what it cost. */
export const notInBackground = 'expected false; queue the request instead, which is what Sluice does in the background'
const requestBodySchemas = {
  '/v1/chat/completions': z.looseObject({ ...common, messages: z.array(message).min(1) }),
  '/v1/responses': z.looseObject({
    ...common,
    input: z.union([z.string(), z.array(z.unknown()).min(1)]),
    background: z.literal(false, { error: notInBackground }).nullish(),
  }),
  '/v1/embeddings': z.looseObject({ ...common, input: z.union([z.string(), z.array(z.unknown()).min(1)]) }),
  '/v1/audio/speech': z.looseObject({ ...common, input: z.string().min(1) }),
  '/v1/audio/transcriptions': z.looseObject(common).describe('the fields of the form but for its file'),
} as const satisfies Record<LineUrl, z.ZodType>

/** A request body after validation: OpenAI's object for the line's url, unknown fields included. */
export type RequestBody = { model: string; [field: string]: unknown }

const frame = {
  custom_id: z.string().min(1).max(512),
  method: z.literal('POST'),
  sluice: sluiceOptionsSchema.optional(),
}
const withBody = <U extends LineUrl>(url: U) =>
  z.strictObject({ ...frame, url: z.literal(url), body: requestBodySchemas[url] })

/** A line whose body travels with it, discriminated by its url. */
export const inlineLineSchema = z.discriminatedUnion('url', [
  withBody('/v1/chat/completions'),
  withBody('/v1/responses'),
  withBody('/v1/embeddings'),
  withBody('/v1/audio/speech'),
  withBody('/v1/audio/transcriptions').extend({ file_ref: fileRefSchema }),
])
/** A line whose body is a claim check. */
export const refLineSchema = z.strictObject({
  ...frame,
  url: z.enum(lineUrls),
  body_ref: bodyRefSchema,
  file_ref: fileRefSchema.optional().describe('of /v1/audio/transcriptions'),
})
/** A unit of work: OpenAI's Batch line plus `sluice`. */
export const requestLineSchema = z.union([inlineLineSchema, refLineSchema])

export interface RequestLine {
  custom_id: string
  method: 'POST'
  url: LineUrl
  body?: RequestBody
  body_ref?: BodyRef
  /** What a transcription is made of; no other line has one. */
  file_ref?: FileRef
  sluice?: SluiceOptions
}
