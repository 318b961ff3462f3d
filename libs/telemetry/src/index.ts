export { createLogger, type Logger, type LoggerOptions, type LogLevel } from './logger.ts'
export { createMetrics, type Metrics } from './metrics.ts'
export { type Span, startSpan } from './span.ts'
export { parseTraceparent, type TraceContext } from './traceparent.ts'
