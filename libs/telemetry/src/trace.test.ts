import { ROOT_CONTEXT, type Span as ApiSpan, SpanStatusCode, trace } from '@opentelemetry/api'
import { AppError } from '@sluice/errors'
import { afterEach, expect, test } from 'vitest'
import { parseTraceparent, startSpan } from './index.ts'

const parent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

afterEach(() => trace.disable())

test.each([
  [parent, { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7', sampled: true }],
  ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02', { sampled: false }],
  ['cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later', { sampled: true }],
])('%s is read', (text, expected) => {
  expect(parseTraceparent(text)).toMatchObject(expected)
})

test.each([
  undefined,
  7,
  '',
  'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  '00-00000000000000000000000000000000-00f067aa0ba902b7-01',
  '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01',
  '00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01',
  '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra',
  '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7',
  `cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-${'x'.repeat(10_000)}`,
])('%s is no traceparent', (text) => {
  expect(parseTraceparent(text)).toBeUndefined()
})

test('without an SDK a child keeps the trace and gets a span id of its own', () => {
  const span = startSpan('handle', { parent })
  const context = parseTraceparent(span.traceparent)
  expect(context).toMatchObject({ traceId: '4bf92f3577b34da6a3ce929d0e0e4736', sampled: true })
  expect(context?.spanId).not.toBe('00f067aa0ba902b7')
  span.end(new Error('x'))
})

test('without a usable parent a new, valid trace begins', () => {
  const ids = new Set<string>()
  for (const hostile of [undefined, 'nonsense']) {
    for (let i = 0; i < 500; i++) {
      const context = parseTraceparent(startSpan('handle', { parent: hostile }).traceparent)
      expect(context).toBeDefined()
      ids.add(`${context?.traceId}${context?.spanId}`)
    }
  }
  expect(ids.size).toBe(1000)
})

test('a registered SDK sees the parent, the attributes and how it ended, never the error itself', () => {
  const seen: unknown[] = []
  const recorded = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 1 }
  const span = {
    spanContext: () => recorded,
    setStatus: (status: unknown) => seen.push(status),
    end: () => seen.push('ended'),
  } as unknown as ApiSpan
  trace.setGlobalTracerProvider({
    getTracer: () => ({
      startSpan: (name, options, context = ROOT_CONTEXT) => {
        seen.push(name, options?.attributes, trace.getSpanContext(context)?.spanId)
        return span
      },
      startActiveSpan: () => {
        throw new Error('not used')
      },
    }),
  })
  const started = startSpan('handle', { parent, attributes: { lane: 'bulk' } })
  started.end(new AppError('model_timeout', 'secret text'))
  expect(started.traceparent).toBe(`00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`)
  expect(seen).toEqual([
    'handle',
    { lane: 'bulk' },
    '00f067aa0ba902b7',
    { code: SpanStatusCode.ERROR, message: 'model_timeout' },
    'ended',
  ])
})

test('a span costs a few microseconds when nobody records', () => {
  const once = () => {
    const start = performance.now()
    for (let i = 0; i < 2000; i++) startSpan('handle', { parent }).end()
    return (performance.now() - start) / 2
  }
  const fastestUs = Math.min(...Array.from({ length: 10 }, once))
  expect(fastestUs).toBeLessThan(20)
})
