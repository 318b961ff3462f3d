import { type Attributes, ROOT_CONTEXT, SpanStatusCode, trace, TraceFlags } from '@opentelemetry/api'
import { AppError } from '@sluice/errors'
import { childContext, formatTraceparent, parseTraceparent, type TraceContext } from './traceparent.ts'

export interface Span {
  /** To carry on to the next hop; valid whether or not anybody records spans. */
  readonly traceparent: string
  /** Ends the span, as failed when there is an error. Of an error only its code or name is recorded. */
  end(error?: unknown): void
}

/**
 * Starts a span under `parent` (a traceparent as it came in; an invalid one begins a new trace). Spans are recorded when
 * the process registered an OpenTelemetry SDK; without one only the context is carried on, at the cost of a few
 * microseconds.
 */
export function startSpan(name: string, options: { parent?: string | undefined; attributes?: Attributes } = {}): Span {
  const parent = parseTraceparent(options.parent)
  const context = parent ? trace.setSpanContext(ROOT_CONTEXT, remote(parent)) : ROOT_CONTEXT
  const span = trace.getTracer('sluice').startSpan(name, { attributes: options.attributes ?? {} }, context)
  const { traceId, spanId, traceFlags } = span.spanContext()
  // Without an SDK the API hands back the parent's own context, or one of zeros.
  const recorded = trace.isSpanContextValid(span.spanContext()) && spanId !== parent?.spanId
  const own = recorded ? { traceId, spanId, sampled: (traceFlags & TraceFlags.SAMPLED) !== 0 } : childContext(parent)
  return {
    traceparent: formatTraceparent(own),
    end: (error) => {
      if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: nameOf(error) })
      span.end()
    },
  }
}

const remote = ({ traceId, spanId, sampled }: TraceContext) => ({
  traceId,
  spanId,
  traceFlags: sampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
  isRemote: true,
})

function nameOf(error: unknown): string {
  if (error instanceof AppError) return error.code
  return error instanceof Error ? error.name : typeof error
}
