import type { RequestBody } from '@sluice/contracts'
import { describe, expect, it } from 'vitest'
import { agree, finalAnswer } from './final-answer.ts'
import { equationsIn } from './equations.ts'
import { judgeAnswer } from './judge-answer.ts'

const ask = (content: string, more: object = {}): RequestBody => ({
  model: 'auto',
  messages: [{ role: 'user', content }],
  ...more,
})
const say = (content: string | null, more: object = {}, choice: object = {}) => ({
  choices: [{ index: 0, message: { role: 'assistant', content, ...more }, finish_reason: 'stop', ...choice }],
})
const judge = (body: RequestBody, answer: unknown, score = 0.3) =>
  judgeAnswer({ url: '/v1/chat/completions', body, answer, score })
const logprobs = (value: number) => ({ logprobs: { content: [{ token: 'a', logprob: value }] } })
const plain = ask('Explain what a queue is.')

describe('what settles the matter', () => {
  it.each([
    ['a refusal of its own field', say(null, { refusal: 'No.' }), 0.05],
    ['a refusal in words', say("I'm sorry, but I can't assist with that request."), 0.05],
    ['a cut answer', say('A queue is', {}, { finish_reason: 'length' }), 0.2],
    ['an empty answer', say('  '), 0],
    ['no answer at all', {}, 0],
  ])('%s', (_name, answer, confidence) => expect(judge(plain, answer).confidence).toBe(confidence))

  it('content policy is not asked again', () => {
    expect(judge(plain, say('A qu', {}, { finish_reason: 'content_filter' })).confidence).toBe(1)
  })

  it('a schema that is broken', () => {
    const schema = { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] }
    const body = ask('Give me an a', { response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } })
    expect(judge(body, say('{"a":"one"}'))).toEqual({ confidence: 0, why: 'breaks its schema' })
    expect(judge(body, say('{"a":1')).why).toBe('not JSON')
    expect(judge(body, say('{"a":1}')).confidence).toBeGreaterThan(0.6)
  })

  it('a tool that does not exist, or arguments that break its schema', () => {
    const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
    const body = ask('Weather?', { tools: [{ type: 'function', function: { name: 'weather', parameters } }] })
    const calling = (name: string, args: string) =>
      say(null, { tool_calls: [{ id: '1', type: 'function', function: { name, arguments: args } }] })
    expect(judge(body, calling('weather', '{"city":"Uppsala"}')).confidence).toBeGreaterThan(0.6)
    expect(judge(body, calling('weather', '{"town":"Uppsala"}')).confidence).toBe(0)
    expect(judge(body, calling('weather', '{"city":')).confidence).toBe(0)
    expect(judge(body, calling('news', '{}')).confidence).toBe(0)
  })

  it('reads responses as well as chat', () => {
    const body = { model: 'auto', input: 'Explain what a queue is.' }
    const item = (content: object[]) => ({ status: 'completed', output: [{ type: 'message', content }] })
    const judged = (answer: object) => judgeAnswer({ url: '/v1/responses', body, answer, score: 0.2 }).confidence
    expect(judged(item([{ type: 'output_text', text: 'First in, first out.' }]))).toBeGreaterThan(0.6)
    expect(judged(item([{ type: 'refusal', refusal: 'No.' }]))).toBe(0.05)
    expect(judged({ ...item([{ type: 'output_text', text: 'Fir' }]), status: 'incomplete' })).toBe(0.2)
  })
})

describe('evidence', () => {
  it('falls with doubt in the answer’s words, complexity and low log probabilities', () => {
    const sure = judge(plain, say('A queue is first in, first out.')).confidence
    expect(judge(plain, say('Maybe it is a stack, I am not sure.')).confidence).toBeLessThan(sure)
    expect(judge(plain, say('A queue is first in, first out.'), 0.9).confidence).toBeLessThan(sure)
    const at = (value: number) => judge(plain, say('A queue.', {}, logprobs(value))).confidence
    expect(at(-0.05)).toBeGreaterThan(at(-0.3))
    expect(at(-0.3)).toBeGreaterThan(at(-0.9))
  })

  it('looks at the steps of an answer that works out a number', () => {
    const body = ask('Tom has 3 boxes with 12 pens each and gives away 6. How many pens are left?')
    const right = judge(body, say('He has 3 * 12 = 36 pens.\nHe keeps 36 - 6 = 30.\n#### 30'))
    const wrong = judge(body, say('He has 3 * 12 = 38 pens.\nHe keeps 38 - 6 = 30.5.\n#### 30.5'))
    expect(right.why).toBe('the steps to its number')
    expect(right.confidence).toBeGreaterThan(0.6)
    expect(wrong.confidence).toBeLessThan(0.3)
  })

  it('is read in bounded time from hostile texts', () => {
    const body = ask('How many are 3 and 4?')
    for (const piece of ['1+', '=', '(', '1 x ', '<<1=', '#### ', '\\boxed{', 'answer is ', "i can't "]) {
      const { confidence } = judge(body, say(piece.repeat(100_000)))
      expect(confidence).toBeGreaterThanOrEqual(0)
    }
  })
})

describe('equations', () => {
  it('are read with their annotations, chains and currencies', () => {
    const results = (text: string) => equationsIn(text).map(({ result, right }) => `${result}${right ? '' : '!'}`)
    expect(results('6 x 5 = <<6*5=30>>30 grapes')).toEqual(['30'])
    expect(results('(65 + 94) / 3 = 159 / 3 = 53')).toEqual(['53'])
    expect(results('$2.50 * 2 = $5.00 and 1,000 + 1 = 1,011')).toEqual(['5', '1011!'])
    expect(results('x = 5, a == b, 3 = 3')).toEqual([])
  })
})

describe('a final answer', () => {
  it.each([
    ['Steps.\n#### 18', { number: 18, marked: true, decimals: false, trailing: false }],
    ['#### 84 (corrected)', { number: 84, trailing: true }],
    ['So \\boxed{1,250.50}', { number: 1250.5, decimals: true, marked: true }],
    ['The answer is **-7**.', { number: -7, trailing: false }],
    ['It costs 3 dollars, so 12 in total.', { number: 12, marked: false }],
    ['No idea', { number: undefined, marked: false }],
  ])('of %j', (text, expected) => expect(finalAnswer(text)).toMatchObject(expected))

  it('agrees with another by number, else by words', () => {
    expect(agree('#### 18', 'The answer is 18.0')).toBe(true)
    expect(agree('#### 18', '#### 19')).toBe(false)
    expect(agree('Answer: Uppsala', 'the answer is **uppsala**')).toBe(true)
    expect(agree('Answer: Uppsala', 'Answer: Lund')).toBe(false)
    expect(agree('', '')).toBe(false)
  })
})
