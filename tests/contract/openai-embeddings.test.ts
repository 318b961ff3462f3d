import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTwin } from './openai-twin.ts'
import type { TwinUnderTest } from './openai-twin.ts'

const cosine = (left: number[], right: number[]): number =>
  left.reduce((sum, value, i) => sum + value * (right[i] ?? 0), 0)

describe('embeddings and models', () => {
  let under: TwinUnderTest

  beforeAll(async () => {
    under = await startTwin([
      { name: 'embed', model: 'text-embedding-3-small', context_tokens: 8_192 },
      { name: 'embed-large', model: 'text-embedding-3-large' },
      { name: 'chat', model: 'gpt-4.1', model_version: '2025-04-14' },
    ])
  })
  afterAll(() => under.close())

  const embed = async (input: string[], dimensions?: number): Promise<number[][]> => {
    const answer = await under.openai.embeddings.create({
      model: 'embed',
      input,
      ...(dimensions === undefined ? {} : { dimensions }),
    })
    return answer.data.map((row) => row.embedding)
  }

  test('similar texts are near, unrelated ones far', async () => {
    const [question, paraphrase, plural, unrelated] = await embed([
      'How do I reset my password?',
      'How can I reset the password of my account?',
      'resetting passwords',
      'The tide rises twice a day along the coast of Norway.',
    ])
    if (!question || !paraphrase || !plural || !unrelated) throw new Error('expected four vectors')
    expect(cosine(question, paraphrase)).toBeGreaterThan(0.6)
    expect(cosine(question, plural)).toBeGreaterThan(0.3)
    expect(cosine(question, unrelated)).toBeLessThan(0.15)
  })

  test('vectors have unit length, the documented or the asked number of dimensions, and are the same every time', async () => {
    const [vector = []] = await embed(['some text'])
    expect(vector).toHaveLength(1_536)
    expect(cosine(vector, vector)).toBeCloseTo(1, 4)
    expect((await embed(['some text']))[0]).toEqual(vector)
    expect((await embed(['some text'], 64))[0]).toHaveLength(64)
    const large = await under.openai.embeddings.create({ model: 'embed-large', input: 'x' })
    expect(large.data[0]?.embedding).toHaveLength(3_072)
    expect(large.usage.total_tokens).toBe(1)
  })

  test('floats on the wire equal the base64 that the SDK asks for by itself', async () => {
    const float = await under.openai.embeddings.create({ model: 'embed', input: 'same', encoding_format: 'float' })
    expect(float.data[0]?.embedding).toEqual((await embed(['same']))[0])
  })

  test('token ids are accepted, empty and oversized inputs are not', async () => {
    const answer = await under.openai.embeddings.create({ model: 'embed', input: [[1, 2, 3], [4]] })
    expect(answer.usage.prompt_tokens).toBe(4)
    await expect(under.openai.embeddings.create({ model: 'embed', input: [] })).rejects.toMatchObject({
      status: 400,
      param: 'input',
    })
    await expect(under.openai.embeddings.create({ model: 'embed', input: '' })).rejects.toMatchObject({ status: 400 })
    await expect(
      under.openai.embeddings.create({ model: 'embed', input: 'word '.repeat(9_000) }),
    ).rejects.toMatchObject({ code: 'context_length_exceeded' })
    await expect(
      under.openai.embeddings.create({ model: 'embed', input: 'x', dimensions: 9_999 }),
    ).rejects.toMatchObject({ param: 'dimensions' })
  })

  test('models lists base models on Azure’s paths and deployments on the plain one', async () => {
    const listed = await under.openai.models.list()
    expect(listed.data.map((model) => model.id)).toContain('gpt-4.1-2025-04-14')
    expect((await under.azure.models.retrieve('gpt-4.1-2025-04-14')).object).toBe('model')
    await expect(under.openai.models.retrieve('nothing')).rejects.toMatchObject({ status: 404 })
    const plain = under.openai.withOptions({ baseURL: `${under.twin.url}/r/unit/v1` })
    expect((await plain.models.list()).data.map((model) => model.id)).toEqual(['embed', 'embed-large', 'chat'])
    const completion = await plain.chat.completions.create({
      model: 'chat',
      messages: [{ role: 'user', content: 'Hi' }],
    })
    expect(completion.choices).toHaveLength(1)
  })
})
