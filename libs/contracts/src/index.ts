export {
  apiKeyRow,
  type ApiKeyRow,
  apiKeyRowSchema,
  identifyKey,
  keyScopes,
  type KeyScope,
  newApiKey,
} from './api-key.ts'
export { type BatchEvent, batchEventSchema, type BatchObject, batchObjectSchema } from './batch-event.ts'
export { type BatchSubmission, batchSubmissionSchema } from './batch-submission.ts'
export { isTerminal, resultEvent, type ResultEvent } from './cloud-event.ts'
export { checkLine, decodeLine, invalidLine, paramOf, salvageLine } from './decode-line.ts'
export { checkDeliverTargets, webhookUrlProblem } from './delivery-policy.ts'
export { type EventEnvelope, eventEnvelopeSchema, tenantOfEvent } from './event-envelope.ts'
export { canonicalJson, contentHash, isRequestId, requestIdOf } from './ids.ts'
export { nestsTooDeeply, tooDeepMessage } from './json-depth.ts'
export { jsonSchemas } from './json-schemas.ts'
export { tenantOnLane } from './lane-policy.ts'
export type { AccessConfig } from './access-config.ts'
export type { Capability, Deployment, DeploymentUrl, Price } from './deployment-config.ts'
export type { Lane } from './lane-config.ts'
export { type PlatformConfig, platformConfigSchema } from './platform-config.ts'
export { type CacheConfig, routingConfigSchema } from './routing-config.ts'
export { type Budget, type Limits, limitsSchema, type TenantConfig, type Thresholds } from './tenant-config.ts'
export {
  type BodyRef,
  type DeliverTarget,
  deliverTargetSchema,
  type FileRef,
  isBatchUrl,
  type LineUrl,
  notInBackground,
  type Priority,
  type RequestBody,
  type RequestLine,
  requestLineSchema,
  type SluiceOptions,
  sluiceOptionsSchema,
  tenantSchema,
  type TierName,
  tierNames,
} from './request-line.ts'
export {
  type Attempt,
  type Decision,
  emptyUsage,
  type ResultLine,
  resultLineSchema,
  type TerminalStatus,
  terminalStatuses,
  type Usage,
} from './result-line.ts'
export {
  type CreateEndpoint,
  createEndpointSchema,
  matchesEventType,
  replaySchema,
  rotateSecretSchema,
  type UpdateEndpoint,
  updateEndpointSchema,
} from './webhook-endpoint.ts'
export { type ScheduledEvent, scheduledEventsSchema } from './scheduled-events.ts'
