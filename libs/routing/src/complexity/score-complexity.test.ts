import { describe, expect, it } from 'vitest'
import { scoreComplexity } from './score-complexity.ts'

const chat = (content: unknown, more: object = {}) =>
  scoreComplexity({ model: 'auto', messages: [{ role: 'user', content }], ...more }, '/v1/chat/completions')

const proof =
  'Prove that there are infinitely many primes. Why does each step follow? First state the theorem, then derive it.'

describe('scoreComplexity', () => {
  it.each([
    [
      'a capital',
      'What is the capital of Sweden?',
      'Compare optimistic and pessimistic locking, say when you would choose which.',
    ],
    ['a greeting', 'Good morning', 'Explain step by step how a webhook receiver should verify a signature.'],
    ['a translation', 'Translate "good morning" to Spanish.', proof],
    [
      'one step of arithmetic',
      'Ann has 3 apples and buys 2. How many has she now?',
      'Ann has 3 apples. She buys twice as many as Ben, who has 5 fewer than Cem. Cem sold half of his 24 apples, ate 2, and gave a third of what remained to Ann. If each apple costs $0.40, how much are the apples worth that Ann and Ben hold together?',
    ],
    [
      'a line of code',
      'Write a function that adds two numbers.',
      'Implement a lock-free bounded queue in Rust, prove linearizability, analyse the memory ordering of each operation, and compare it with a mutex.',
    ],
  ])('puts %s below a harder task', (_name, easy, hard) => {
    expect(chat(easy).score + 0.05).toBeLessThan(chat(hard).score)
  })

  it('spreads from near nothing to near one', () => {
    expect(chat('hi').score).toBeLessThan(0.1)
    expect(
      chat(`${proof} Analyse, design and justify an algorithm:\n\`\`\`ts\nconst f = () => {}\n\`\`\``).score,
    ).toBeGreaterThan(0.6)
  })

  it.each([
    ['tools', { tools: [{ type: 'function', function: { name: 'f' } }] }],
    ['a schema to follow', { response_format: { type: 'json_schema', json_schema: {} } }],
    ['a schema to follow', { text: { format: { type: 'json_schema' } } }],
    ['the effort asked for', { reasoning_effort: 'high' }],
    ['the effort asked for', { reasoning: { effort: 'high' } }],
  ])('counts %s of the request, and names it', (phrase, more) => {
    expect(chat('Go on', more).why).toContain(phrase)
    expect(chat('Go on', more).score).toBeGreaterThan(chat('Go on').score)
  })

  it('counts images and earlier turns', () => {
    const image = { type: 'image_url', image_url: { url: 'data:,' } }
    const alone = chat([{ type: 'text', text: 'What is it?' }])
    expect(chat([{ type: 'text', text: 'What is it?' }, image]).why).toContain('images')
    expect(chat([{ type: 'text', text: 'What is it?' }, image]).score).toBeGreaterThan(alone.score)
    const messages = Array.from({ length: 6 }, () => ({ role: 'user', content: 'And now?' }))
    expect(scoreComplexity({ model: 'auto', messages }, '/v1/chat/completions').why).toContain('earlier turns')
  })

  it('takes a follow-up of a few words for what was asked before', () => {
    const messages = [
      { role: 'user', content: proof },
      { role: 'assistant', content: 'Suppose there were finitely many …' },
      { role: 'user', content: 'And in Lean?' },
    ]
    const followUp = scoreComplexity({ model: 'auto', messages }, '/v1/chat/completions')
    expect(followUp.score).toBeGreaterThan(chat('And in Lean?').score + 0.1)
  })

  it('takes material to sum up for less than the same material to work on', () => {
    const report = Array.from(
      { length: 30 },
      (_, n) =>
        `On day ${n} committee c${'abcdefghijklmnopqrstuvwxyzabcdefgh'.slice(n, n + 4)} met, heard ${n % 7} experts and adopted its budget. `,
    ).join('')
    expect(chat(`Summarise this: ${report}`).score).toBeLessThan(chat(`Discuss this: ${report}`).score)
  })

  it.each([
    ['no text', ''],
    ['emoji', '😀'.repeat(300)],
    ['one word over and over', 'word '.repeat(900)],
    ['what may be base64', 'iVBORw0KGgo'.repeat(200)],
  ])('does not take %s for hard', (_name, content) => {
    expect(chat(content)).toMatchObject({
      score: expect.closeTo(0.05, 1) as number,
      why: 'nothing that looks hard; lowered by: hardly any text',
    })
  })

  it('explains itself in a few words', () => {
    expect(chat(proof).why).toContain('reasoning')
    expect(chat('hi').why).toBe('nothing that looks hard; lowered by: short prompt')
    for (const text of [proof, 'hi', 'x'.repeat(9_000), '1 + 1 = 2? '.repeat(50)]) {
      expect(chat(text).why.length).toBeLessThan(120)
    }
  })

  it('reads the responses API alike', () => {
    for (const input of [
      proof,
      [{ role: 'user', content: proof }],
      [{ role: 'user', content: [{ type: 'input_text', text: proof }] }],
    ]) {
      expect(scoreComplexity({ model: 'auto', input }, '/v1/responses')).toEqual(chat(proof))
    }
  })

  it('gives the same answer every time, whatever was scored in between', () => {
    const texts = [proof, 'hi', 'x = 3', '😀 é 日本語', proof]
    const first = texts.map((text) => chat(text))
    expect(
      texts
        .toReversed()
        .map((text) => chat(text))
        .toReversed(),
    ).toEqual(first)
  })
})

describe('hostile input', () => {
  const within = (found: ReturnType<typeof chat>) => {
    for (const value of [found.score, found.heads.weakFails, found.heads.strongHelps]) {
      expect(value).toBeGreaterThanOrEqual(0)
      expect(value).toBeLessThanOrEqual(1)
    }
    expect(found.why).not.toBe('')
  }

  it.each<[string, unknown]>([
    ['nothing', ''],
    ['null', null],
    ['a number', 7],
    ['parts of wrong types', [null, 3, { type: 'text' }, { type: 'text', text: null }]],
    ['emoji', '😀👩‍👩‍👧‍👦🏳️‍🌈'.repeat(200)],
    ['lone surrogates', '\ud800 \udfff\ud800'],
    ['control characters', '\u0000\u0007\r\r\r\u2028'],
    ['ideographs', '请证明根号2是无理数。'.repeat(20)],
    ['one endless word', 'a'.repeat(50_000)],
    ['one endless number', '9'.repeat(50_000)],
    ['options only', 'A. x\nB. y\nC. z\n'.repeat(500)],
    ['figures and points', '1.'.repeat(50_000)],
  ])('stays within bounds for %s', (_name, content) => {
    within(chat(content))
  })

  it.each<[string, object]>([
    ['messages that are none', { messages: [null, 'x', 4] }],
    ['no messages', {}],
    ['fields of wrong types', { messages: [], tools: 'all', max_tokens: 'many', response_format: 3 }],
  ])('survives %s', (_name, fields) => {
    within(scoreComplexity({ model: 'auto', ...fields }, '/v1/chat/completions'))
  })

  it('reads no more of 10 MB than of 10,000 characters', () => {
    const texts = ['word '.repeat(2_000_000), 'A. 1\n'.repeat(2_000_000), '($`{'.repeat(2_500_000)]
    for (const text of texts) chat(text.slice(0, 20_000))
    const started = performance.now()
    for (const text of texts) within(chat(text))
    // Reading all of it would take half a second each.
    expect(performance.now() - started).toBeLessThan(300)
  })
})
