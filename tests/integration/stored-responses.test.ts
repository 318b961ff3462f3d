import OpenAI, { AzureOpenAI, NotFoundError } from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { deploymentOn } from './model-twin.ts'
import { type Door, type DoorFixture, doorKey, fabrikamKey, startDoorFixture } from './openai-door-fixture.ts'

let fixture: DoorFixture
let door: Door
let other: Door
beforeAll(async () => {
  fixture = await startDoorFixture()
  const options = {
    deployments: (twin: DoorFixture['twin']) =>
      ['swedencentral', 'eastus2'].map((resource) =>
        deploymentOn(twin, `gpt-${resource}`, {
          resource,
          azure_name: 'gpt',
          tier: 'large',
          urls: ['/v1/responses', '/v1/chat/completions'],
        }),
      ),
  }
  ;[door, other] = await Promise.all([fixture.open(options), fixture.open(options)])
})
afterAll(async () => {
  await Promise.all([door.close(), other.close()])
  await fixture.close()
})
beforeEach(() => fixture.twin.reset())

const client = (at: Door, apiKey = doorKey) => new OpenAI({ apiKey, baseURL: `${at.url}/v1`, maxRetries: 0 })
const create = (input: string) => client(door).responses.create({ model: 'gpt-4.1', input })

describe('a stored response', () => {
  it('is read and deleted where it was made, by any instance', async () => {
    for (let n = 0; n < 4; n++) {
      const made = await create(`Say ${n}`)
      const at = client(n % 2 === 0 ? other : door)
      const { data: read, response } = await at.responses.retrieve(made.id).withResponse()
      expect(read).toMatchObject({ id: made.id, output_text: made.output_text, usage: made.usage })
      expect(response.headers.get('x-sluice-region')).toMatch(/^(swedencentral|eastus2)$/)
      const items = await at.responses.inputItems.list(made.id, { limit: 10 })
      expect(JSON.stringify(items.data)).toContain(`Say ${n}`)
      await at.responses.delete(made.id)
      await expect(at.responses.retrieve(made.id)).rejects.toBeInstanceOf(NotFoundError)
    }
  })

  it('in Azure’s spellings as well', async () => {
    const { id } = await create('Hello')
    for (const baseURL of [`${door.url}/openai`, `${door.url}/openai-realtime/openai`]) {
      const azure = new AzureOpenAI({ apiKey: doorKey, baseURL, apiVersion: '2025-04-01-preview', maxRetries: 0 })
      expect(await azure.responses.retrieve(id)).toMatchObject({ id })
    }
  })

  it('of another tenant is a 404 that asks nobody, to read as to delete', async () => {
    const { id } = await create('Secret')
    const before = (await fixture.twin.calls()).length
    const stranger = client(other, fabrikamKey).responses
    for (const act of [stranger.retrieve(id), stranger.delete(id), stranger.inputItems.list(id)]) {
      await expect(act).rejects.toMatchObject({ status: 404, code: 'not_found' })
    }
    await expect(client(door).responses.retrieve('resp_nobody')).rejects.toMatchObject({ status: 404 })
    expect(await fixture.twin.calls()).toHaveLength(before)
    expect(await client(other).responses.retrieve(id)).toMatchObject({ id })
  })

  it('that cannot be looked up is a 503 that says when to ask again, and a provider that fails is told apart', async () => {
    const { id } = await create('Later')
    await fixture.redis.client.set(`sluice:response:${id}`, 'contoso|gone')
    await expect(client(door).responses.retrieve(id)).rejects.toMatchObject({ status: 404 })
    const second = await create('Now')
    await fixture.twin.post('faults', { operation: 'responses', type: 'status', status: 500, count: 1 })
    await expect(client(door).responses.retrieve(second.id)).rejects.toMatchObject({ code: 'model_unavailable' })
    await fixture.redis.client.del(`sluice:response:${second.id}`)
    await fixture.redis.client.lpush(`sluice:response:${second.id}`, 'not a string')
    const answer = await fetch(`${door.url}/v1/responses/${second.id}`, { headers: { 'api-key': doorKey } })
    expect(answer.status).toBe(503)
    expect(answer.headers.get('retry-after')).toBe('1')
    expect(await answer.json()).toMatchObject({ error: { code: 'model_unavailable' } })
    await fixture.redis.client.del(`sluice:response:${second.id}`)
  })

  it('needs a key that may submit', async () => {
    const { id } = await create('Hello')
    const ask = (key: string) => fetch(`${door.url}/v1/responses/${id}`, { headers: { 'api-key': key } })
    expect((await ask('sk-read-only-key')).status).toBe(403)
    expect((await ask('sk-nobody')).status).toBe(401)
  })
})

it('a response in the background is refused, because nobody would count what it costs', async () => {
  const pending = client(door).responses.create({ model: 'gpt-4.1', input: 'x', background: true })
  await expect(pending).rejects.toMatchObject({ status: 400, code: 'invalid_line', param: 'background' })
})
