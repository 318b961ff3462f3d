export { createExecution } from './execution.ts'
export type { Execution, Outcome, RunInput } from './execution-types.ts'
export { createEmbedText } from './embed-text.ts'
export { watchEvictions } from './eviction-watcher.ts'
export { createRegionAffinity } from './region-affinity.ts'
export { createResponsePins, type ResponsePins } from './response-pins.ts'
export { createForwarder } from './forwarder.ts'
export type {
  Forwarder,
  ForwardHead,
  ForwardLimits,
  ForwardPayload,
  ForwardReport,
  ForwardSink,
} from './forward-types.ts'
