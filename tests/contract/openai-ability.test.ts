import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTwin } from './openai-twin.ts'
import type { TwinUnderTest } from './openai-twin.ts'

interface Graded {
  right: boolean
  text: string
  meanLogprob: number
}

describe('controlled wrong answers', () => {
  let under: TwinUnderTest

  beforeAll(async () => {
    under = await startTwin([
      { name: 'weak', model: 'small', ability: 0.5 },
      { name: 'strong', model: 'large', ability: 0.9 },
      { name: 'perfect', model: 'oracle', ability: 1 },
      { name: 'hopeless', model: 'stone', ability: 0 },
    ])
  })
  afterAll(() => under.close())

  const grade = async (model: string, difficulty: number, count: number): Promise<Graded[]> => {
    const { next: from } = await under.control('GET', 'calls?from=1000000000')
    const graded: Graded[] = []
    for (let i = 0; i < count; i++) {
      const content = `Problem ${i}: how many apples are left? [difficulty=${difficulty}] [answer=${100 + i}]`
      const completion = await under.openai.chat.completions.create({
        model,
        messages: [{ role: 'user', content }],
        logprobs: true,
      })
      const text = completion.choices[0]?.message.content ?? ''
      const logprobs = completion.choices[0]?.logprobs?.content ?? []
      const meanLogprob = logprobs.reduce((sum, token) => sum + token.logprob, 0) / logprobs.length
      graded.push({ right: text.includes(String(100 + i)), text, meanLogprob })
      expect(JSON.stringify(completion)).not.toMatch(/"right"|"difficulty"/)
    }
    expect(from).toBeDefined()
    return graded
  }
  const share = (graded: Graded[]): number => graded.filter((one) => one.right).length / graded.length
  const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

  test('the share of right answers follows ability and falls with difficulty', async () => {
    const [easy, middle, hard] = [
      await grade('weak', 0.1, 200),
      await grade('weak', 0.5, 200),
      await grade('weak', 0.9, 200),
    ]
    expect(share(easy)).toBeGreaterThan(share(middle))
    expect(share(middle)).toBeGreaterThan(share(hard))
    // Rasch: P(0.5, 0.5) = 0.5; four standard deviations of 200 draws are 0.14.
    expect(Math.abs(share(middle) - 0.5)).toBeLessThan(0.14)
    expect(share(await grade('strong', 0.5, 200))).toBeGreaterThan(share(middle))
  })

  test('ability 1 is always right, ability 0 never', async () => {
    expect(share(await grade('perfect', 0.99, 50))).toBe(1)
    expect(share(await grade('hopeless', 0.01, 50))).toBe(0)
  })

  test('wrong answers are shorter, plainer and less sure on average', async () => {
    const graded = await grade('weak', 0.5, 200)
    const right = graded.filter((one) => one.right)
    const wrong = graded.filter((one) => !one.right)
    expect(mean(wrong.map((one) => one.meanLogprob))).toBeLessThan(mean(right.map((one) => one.meanLogprob)) - 0.1)
    expect(mean(wrong.map((one) => one.text.length))).toBeLessThan(mean(right.map((one) => one.text.length)) / 1.5)
    expect(wrong.some((one) => one.text.includes('**'))).toBe(false)
    // Confidence must be worth judging, not give the answer away.
    expect(Math.min(...right.map((one) => one.meanLogprob))).toBeLessThan(
      Math.max(...wrong.map((one) => one.meanLogprob)),
    )
  })

  test('only the control API says who was right', async () => {
    const before = (await under.control('GET', 'calls?limit=1')).next ?? 0
    expect(before).toBeGreaterThan(0)
    const completion = await under.openai.chat.completions.create({
      model: 'weak',
      messages: [{ role: 'user', content: 'Q [difficulty=0.5] [answer=7]' }],
    })
    const id = completion.id.slice('chatcmpl-'.length)
    const all = await under.control('GET', 'calls?limit=10000')
    const row = all.calls?.at(-1)
    expect(row?.difficulty).toBe(0.5)
    expect(row?.right).toBe(completion.choices[0]?.message.content?.includes('**7**'))
    expect(id).toHaveLength(32)
  })

  test('a stronger model is mostly right where a weaker one is', async () => {
    const weak = await grade('weak', 0.5, 200)
    const strong = await grade('strong', 0.5, 200)
    const both = weak.filter((one, i) => one.right && strong[i]?.right).length
    expect(both / weak.filter((one) => one.right).length).toBeGreaterThan(0.9)
  })
})
