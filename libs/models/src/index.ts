export type { Upload } from './form-body.ts'
export type { ModelAnswer } from './model-answer.ts'
export { createModels, type Models } from './models.ts'
export { upstreamStatus } from './translate-error.ts'
export {
  createForwardClient,
  type ForwardClient,
  type ForwardController,
  type ForwardEvents,
} from './forward-client.ts'
export { createStoredResponses, type StoredResponseCall, type StoredResponses } from './stored-responses.ts'
export { connectionFailure, refusal, streamFailure } from './forward-error.ts'
export { usageInTail } from './forward-usage.ts'
export { createUpstreamKeys, type UpstreamKeys } from './upstream-keys.ts'
export { addUsage, costUsd, estimatedSpeechUsage, modelOf, priceOf, priceOfModel, readUsage } from './usage.ts'
