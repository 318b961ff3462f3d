import { z } from 'zod'
import { tierNames } from './request-line.ts'

/** US dollars per million tokens. */
export const priceSchema = z.strictObject({
  input: z.number().nonnegative(),
  cached: z.number().nonnegative().optional().describe('input that the provider had cached; `input` unless given'),
  output: z.number().nonnegative(),
  reasoning: z.number().nonnegative().optional().describe('output that was reasoning; `output` unless given'),
  batch: z
    .strictObject({ input: z.number().nonnegative(), output: z.number().nonnegative() })
    .optional()
    .describe('Batch API; half of the online price unless given'),
})
export type Price = z.infer<typeof priceSchema>

export const capabilityNames = ['vision', 'tools', 'json_schema', 'audio', 'logprobs'] as const
/** What a deployment can do beyond plain text. */
export type Capability = (typeof capabilityNames)[number]

/** Every endpoint that a deployment may serve. */
export const deploymentUrls = [
  '/v1/chat/completions',
  '/v1/responses',
  '/v1/embeddings',
  '/v1/audio/transcriptions',
  '/v1/audio/speech',
  '/v1/realtime',
] as const
export type DeploymentUrl = (typeof deploymentUrls)[number]

// Every answer names its deployment in headers, which Node refuses to write with other characters.
const headerText = z.string().regex(/^[!-~](?:[ -~]*[!-~])?$/, 'printable ASCII characters only')

export const deploymentSchema = z
  .strictObject({
    name: headerText.describe('unique in Sluice; the deployment name sent to Azure unless `azure_name` says another'),
    azure_name: z.string().optional(),
    tier: z.enum(tierNames).optional().describe('absent: reachable by name only (embeddings, audio)'),
    model: headerText,
    region: headerText,
    kind: z
      .enum(['ptu', 'standard', 'spot', 'model-router'])
      .default('standard')
      .describe('a model-router is priced by the model that each answer names, from `prices`'),
    endpoint: z.string().describe('base URL ending in /openai/v1, or in /v1 for any OpenAI-compatible server'),
    api_key: z.string().optional().describe('${VAR} is taken from the environment'),
    api_key_file: z
      .string()
      .optional()
      .describe('read again when it changes, so that a key is rotated without a restart'),
    urls: z.array(z.enum(deploymentUrls)).min(1).default(['/v1/chat/completions', '/v1/responses']),
    capabilities: z.array(z.enum(capabilityNames)).default(['vision', 'tools', 'json_schema', 'logprobs']),
    quota: z.strictObject({
      tokens_per_minute: z.int().positive(),
      requests_per_minute: z.int().positive(),
    }),
    max_concurrency: z.int().positive().max(10_000).default(256).describe('calls in flight over all workers'),
    weight: z.number().positive().default(1).describe('share within its tier under `balancing: weighted`'),
    context_tokens: z.int().positive().default(128_000),
    max_output_tokens: z.int().positive().default(16_384).describe('the most that the model writes in one answer'),
    timeout_ms: z.int().positive().default(120_000),
    price: priceSchema,
    batch: z
      .strictObject({
        enqueued_tokens: z.int().positive().describe('the most tokens that all its unfinished batches may hold'),
        azure_name: z.string().optional().describe('the deployment of type global batch or data zone batch'),
      })
      .optional()
      .describe('present: takes Batch API jobs'),
    webrtc_url: z.url().optional().describe("the region's realtime WebRTC endpoint"),
    spot: z
      .strictObject({ scheduled_events_url: z.url().optional().describe('Azure Scheduled Events, polled for Preempt') })
      .optional(),
  })
  .check((context) => {
    const { api_key, api_key_file } = context.value
    if ((api_key === undefined) === (api_key_file === undefined)) {
      context.issues.push({
        code: 'custom',
        input: context.value,
        path: ['api_key'],
        message: 'give either api_key or api_key_file',
      })
    }
  })
/** One model deployment in one region, with its quota and price. */
export type Deployment = z.infer<typeof deploymentSchema>
