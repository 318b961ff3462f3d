/** W3C Trace Context, the part of it that travels in messages, rows and headers. */
export interface TraceContext {
  /** 32 lower-case hex digits. */
  traceId: string
  /** 16 lower-case hex digits. */
  spanId: string
  sampled: boolean
}

// https://www.w3.org/TR/trace-context/#traceparent-header: a later version may append fields, version ff is invalid,
// ids of zeros are invalid.
const pattern = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

/** @returns the context, or undefined for anything that is not a valid traceparent: tracing never fails a request */
export function parseTraceparent(text: unknown): TraceContext | undefined {
  if (typeof text !== 'string' || text.length > 512) return undefined
  const [, version, traceId, spanId, flags, rest] = pattern.exec(text) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  if (version === '00' && rest !== undefined) return undefined
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

export const formatTraceparent = ({ traceId, spanId, sampled }: TraceContext): string =>
  `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`

/**
 * The next hop's context. Without a parent it begins a trace, marked as sampled: a consumer that traces decides for
 * itself, instead of being told that nobody cares.
 */
export const childContext = (parent: TraceContext | undefined): TraceContext => ({
  traceId: parent?.traceId ?? randomHex(4),
  spanId: randomHex(2),
  sampled: parent?.sampled ?? true,
})

// Ids have to be unique, not unpredictable; Math.random is ten times cheaper than the system's generator. The lowest
// bit is set because an id of zeros is invalid.
const randomHex = (words: number): string =>
  Array.from({ length: words }, () => ((Math.random() * 2 ** 32) | 1) >>> 0)
    .map((word) => word.toString(16).padStart(8, '0'))
    .join('')
