import { emptyUsage } from '@sluice/contracts'
import { expect, test } from 'vitest'
import { type CachedAnswer, isCacheable, packAnswer, unpackAnswer } from './cached-answer.ts'
import { cosine, packVector, unitVector, unpackVector } from './unit-vector.ts'

const completion = (finish_reason: string) => ({ object: 'chat.completion', choices: [{ finish_reason }] })

test.each([
  ['a complete answer', 200, completion('stop'), true],
  ['a tool call', 200, completion('tool_calls'), true],
  ['a cut answer', 200, completion('length'), false],
  ['a filtered answer', 200, completion('content_filter'), false],
  ['an error', 429, { error: {} }, false],
  ['a finished response', 200, { object: 'response', status: 'completed' }, true],
  ['an unfinished response', 200, { object: 'response', status: 'incomplete' }, false],
  ['speech', 200, Buffer.from([1, 2]), true],
  ['silence', 200, Buffer.alloc(0), false],
  ['nothing', 200, null, false],
])('%s is kept or not', (_, status_code, body, kept) => {
  expect(isCacheable({ status_code, body })).toBe(kept)
})

test.each([{ text: 'hi' }, Buffer.from([0, 255, 7])])('an answer comes back as it was', (body) => {
  const answer: CachedAnswer = {
    status_code: 200,
    content_type: 'x/y',
    body,
    usage: { ...emptyUsage, output_tokens: 2 },
    cost_usd: 0.1,
    model: 'm',
    deployment: 'd',
    region: 'r',
    tier: null,
  }
  const stored = JSON.parse(JSON.stringify(packAnswer(answer))) as ReturnType<typeof packAnswer>
  expect(unpackAnswer(stored)).toEqual(answer)
})

test('vectors survive storage and compare by angle', () => {
  const vector = unitVector([3, 4])
  if (vector === undefined) throw new Error('no vector')
  expect([...unpackVector(packVector(vector))]).toEqual([...vector])
  expect(cosine(vector, vector)).toBeCloseTo(1)
  expect(cosine(vector, new Float32Array([-0.8, 0.6]))).toBeCloseTo(0)
  expect(cosine(vector, new Float32Array(3))).toBe(0)
  expect(unitVector([0, 0])).toBeUndefined()
  expect(unitVector([Number.NaN])).toBeUndefined()
})
