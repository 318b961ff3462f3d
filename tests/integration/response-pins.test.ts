import OpenAI, { APIError } from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type ExecutionBench, startExecutionBench } from './execution-fixture.ts'
import { deploymentOn } from './model-twin.ts'
import { type Door, type DoorFixture, doorKey, fabrikamKey, startDoorFixture } from './openai-door-fixture.ts'

let fixture: DoorFixture
let door: Door
let other: Door
let bench: ExecutionBench
beforeAll(async () => {
  fixture = await startDoorFixture()
  const gpt = { urls: ['/v1/responses' as const, '/v1/chat/completions' as const], azure_name: 'gpt' }
  const options = {
    deployments: (twin: DoorFixture['twin']) => [
      deploymentOn(twin, 'gpt-swedencentral', { ...gpt, resource: 'swedencentral', tier: 'large' as const }),
      deploymentOn(twin, 'small-swedencentral', {
        ...gpt,
        resource: 'swedencentral',
        azure_name: 'small',
        model: 'gpt-4.1-mini',
        tier: 'small' as const,
      }),
      deploymentOn(twin, 'gpt-eastus2', { ...gpt, resource: 'eastus2', tier: 'large' as const }),
    ],
  }
  ;[door, other] = await Promise.all([fixture.open(options), fixture.open(options)])
  const resources = ['swedencentral', 'eastus2'].map((name) => ({
    name,
    deployments: [{ name: 'gpt', model: 'gpt-4.1' }],
  }))
  bench = await startExecutionBench({ resources })
})
afterAll(async () => {
  await Promise.all([door.close(), other.close()])
  await Promise.all([fixture.close(), bench.close()])
})
beforeEach(() => fixture.twin.reset())

const client = (at: Door, apiKey = doorKey) => new OpenAI({ apiKey, baseURL: `${at.url}/v1`, maxRetries: 0 })
const failure = async (pending: Promise<unknown>) => {
  const error: unknown = await pending.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error instanceof APIError) return error
  throw new Error(`expected an APIError, got ${String(error)}`)
}

describe('a request that goes on from a response', () => {
  it('goes to the resource that made it, from any instance, streamed or not, whatever the tier would be', async () => {
    for (const model of ['gpt-4.1', 'auto']) {
      const { data: first, response } = await client(door)
        .responses.create({ model: 'gpt-4.1', input: 'Begin' })
        .withResponse()
      const region = response.headers.get('x-sluice-region')
      let previous = first.id
      for (let turn = 0; turn < 4; turn++) {
        const at = client(turn % 2 === 0 ? other : door)
        const next = await at.responses
          .create({ model, input: `Turn ${turn}`, previous_response_id: previous })
          .withResponse()
        expect(next.response.headers.get('x-sluice-region')).toBe(region)
        expect(next.data.previous_response_id).toBe(previous)
        const stream = await at.responses.create({
          model,
          input: 'And on',
          previous_response_id: next.data.id,
          stream: true,
        })
        for await (const event of stream) if (event.type === 'response.completed') previous = event.response.id
        expect(previous).not.toBe(next.data.id)
      }
    }
  })

  it('another tenant’s is a 404 and is never passed on', async () => {
    const { id } = await client(door).responses.create({ model: 'gpt-4.1', input: 'Begin' })
    const before = (await fixture.twin.calls()).length
    const error = await failure(
      client(other, fabrikamKey).responses.create({ model: 'gpt-4.1', input: 'x', previous_response_id: id }),
    )
    expect(error).toMatchObject({ status: 404, code: 'not_found', param: 'previous_response_id' })
    expect(await fixture.twin.calls()).toHaveLength(before)
  })

  it('where it may not go there, says so; what nobody remembers is the provider’s to judge', async () => {
    const { data, response } = await client(door).responses.create({ model: 'gpt-4.1', input: 'Begin' }).withResponse()
    const region = response.headers.get('x-sluice-region') === 'eastus2' ? 'swedencentral' : 'eastus2'
    const elsewhere = { headers: { 'x-sluice-region': region } }
    const body = { model: 'gpt-4.1', input: 'x', previous_response_id: data.id }
    expect(await failure(client(door).responses.create(body, elsewhere))).toMatchObject({
      status: 400,
      code: 'no_route',
      param: 'previous_response_id',
    })
    const unknown = { ...body, previous_response_id: 'resp_nobody' }
    expect(await failure(client(door).responses.create(unknown))).toMatchObject({
      status: 400,
      code: 'model_rejected',
      param: 'previous_response_id',
    })
  })

  it('asks nobody for other urls, nor for a first response', async () => {
    const asked = () =>
      fixture.redis.client.info('commandstats').then((text) => /cmdstat_getex:calls=(\d+)/.exec(text)?.[1])
    const before = await asked()
    await client(door).responses.create({ model: 'gpt-4.1', input: 'Begin' })
    await client(door).chat.completions.create({ model: 'gpt-4.1', messages: [{ role: 'user', content: 'hi' }] })
    expect(await asked()).toBe(before)
  })
})

it('queued requests go on from responses in the same way', async () => {
  const urls = ['/v1/responses' as const]
  const deployments = ['swedencentral', 'eastus2'].map((resource) =>
    deploymentOn(bench.twin, `gpt-${resource}`, { resource, azure_name: 'gpt', urls }),
  )
  const { done, close } = await bench.start({ deployments })
  const ask = (body: object, tenant = 'contoso') =>
    done({ model: 'gpt-4.1', ...body }, { url: '/v1/responses', tenant })
  const first = await ask({ input: 'Begin' })
  const idOf = ({ response }: typeof first) => (response as { body: { id: string } }).body.id
  let previous_response_id = idOf(first)
  for (let turn = 0; turn < 4; turn++) {
    const next = await ask({ input: 'On', previous_response_id })
    expect(next).toMatchObject({ status: 'succeeded', decision: { region: first.decision.region } })
    previous_response_id = idOf(next)
  }
  const error = { code: 'not_found', param: 'body.previous_response_id' }
  expect(await ask({ input: 'x', previous_response_id }, 'fabrikam')).toMatchObject({ status: 'failed', error })
  await close()
})
