import { describe, expect, it } from 'vitest'
import { score } from './score.ts'

const chat = (content: unknown, more: object = {}) =>
  score({ model: 'auto', messages: [{ role: 'user', content }], ...more }, '/v1/chat/completions')

const proof =
  'Prove that there are infinitely many primes. Why does each step follow? First state the theorem, then derive it.'

describe('score', () => {
  it('is near nothing for small talk and says so', () => {
    expect(chat('Good morning')).toMatchObject({ score: expect.closeTo(0, 1) as number })
    expect(chat('').why).toBe('nothing that looks hard')
  })

  it.each([
    ['a proof', proof, 'reasoning'],
    ['code', 'Fix this:\n```ts\nconst f = () => {\n```', 'code'],
    ['math', 'Solve x^2 + 3x = 4 and give the probability of 3 in 7', 'math'],
    ['steps', 'First open it.\n1. read\n2. sort\nThen finally close.', 'steps'],
    ['constraints', 'You must not use loops, at most 3 lines, without imports.', 'constraints'],
    ['several questions', 'Who? When? Where? How far?', 'questions'],
  ])('counts %s, and names it', (_name, text, signal) => {
    const found = chat(text)
    expect(found.why).toContain(`${signal} +`)
    expect(found.score).toBeGreaterThan(chat('Say something nice today').score)
  })

  it.each([
    ['tools', { tools: [{ type: 'function', function: { name: 'f' } }] }],
    ['schema', { response_format: { type: 'json_schema', json_schema: {} } }],
    ['schema', { text: { format: { type: 'json_schema' } } }],
    ['effort', { reasoning_effort: 'high' }],
    ['effort', { reasoning: { effort: 'high' } }],
  ])('counts %s of the request', (signal, more) => {
    expect(chat('Go on', more).why).toContain(`${signal} +`)
  })

  it('counts images and earlier turns', () => {
    const image = { type: 'image_url', image_url: { url: 'data:,' } }
    expect(chat([{ type: 'text', text: 'What is it?' }, image]).why).toContain('images +')
    const messages = Array.from({ length: 4 }, () => ({ role: 'user', content: 'And now?' }))
    expect(score({ model: 'auto', messages }, '/v1/chat/completions').why).toContain('turns +')
  })

  it('lowers a routine task', () => {
    expect(chat('Translate: prove it').score).toBeLessThan(chat('Prove it').score)
  })

  it('reads the responses API alike', () => {
    const answers = [
      proof,
      [{ role: 'user', content: proof }],
      [{ role: 'user', content: [{ type: 'input_text', text: proof }] }],
    ]
    for (const input of answers) {
      expect(score({ model: 'auto', input }, '/v1/responses').score).toBe(chat(proof).score)
    }
  })

  it('adds up to the score, within its bounds', () => {
    const { why, score } = chat(proof)
    const sum = [...why.matchAll(/([+-]\d\.\d\d)/g)].reduce((total, [, part]) => total + Number(part), 0)
    expect(score).toBeCloseTo(sum, 1)
    const everything = chat(`${proof} \`\`\`def f(): x^2 + 1 = 3\`\`\` must must must only if`.repeat(50), {
      reasoning_effort: 'high',
      tools: Array.from({ length: 30 }, () => ({})),
    })
    expect(everything.score).toBe(1)
  })

  it('gives the same answer every time', () => {
    const texts = [proof, 'hi', 'x = 3', proof]
    const first = texts.map((text) => chat(text))
    expect(texts.map((text) => chat(text))).toEqual(first)
  })

  it.each([
    ['content of a wrong type', { messages: [{ role: 'user', content: 7 }] }],
    ['parts of wrong types', { messages: [{ role: 'user', content: [null, 3, { type: 'text' }] }] }],
    ['messages that are none', { messages: [null, 'x', 4] }],
    ['tools that are none', { messages: [], tools: 'all', max_tokens: 'many', response_format: 3 }],
  ])('survives %s', (_name, fields) => {
    expect(score({ model: 'auto', ...fields }, '/v1/chat/completions').score).toBeGreaterThanOrEqual(0)
  })

  it('takes linear time on text made to be slow', () => {
    const hostile = ['def '.repeat(25_000), '1.'.repeat(50_000), ' '.repeat(100_000), 'first '.repeat(20_000)]
    const started = performance.now()
    for (const text of hostile) chat(text)
    // A quadratic pattern would need seconds.
    expect(performance.now() - started).toBeLessThan(500)
  })
})
