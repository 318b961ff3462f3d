export { type BatchSubmission, batchSubmissionSchema } from './batch-submission.ts'
export { isTerminal, resultEvent, type ResultEvent, resultEventSchema } from './cloud-event.ts'
export { checkLine, decodeLine, invalidLine, paramOf, salvageLine } from './decode-line.ts'
export { checkDeliverTargets } from './delivery-policy.ts'
export { canonicalJson, contentHash, isRequestId, requestIdOf } from './ids.ts'
export { jsonSchemas } from './json-schemas.ts'
export { tenantOnLane } from './lane-policy.ts'
export { type Deployment, type Lane, type PlatformConfig, platformConfigSchema } from './platform-config.ts'
export {
  type BodyRef,
  type DeliverTarget,
  deliverTargetSchema,
  type LineUrl,
  type Priority,
  type RequestBody,
  type RequestLine,
  type SluiceOptions,
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
  type Usage,
} from './result-line.ts'
