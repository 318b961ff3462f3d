export { createLogger, type Logger } from './logger.ts'
export { createMetrics, type Metrics } from './metrics.ts'
export { startSpan } from './span.ts'
export { parseTraceparent } from './traceparent.ts'
