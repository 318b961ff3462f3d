import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Deployment } from '@sluice/contracts'
import { createModels, createUpstreamKeys, type Models, type UpstreamKeys } from '@sluice/models'
import { systemClock } from '@sluice/resilience'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { deploymentOn, type ModelTwin, startModelTwin } from './model-twin.ts'

let twin: ModelTwin
let folder: string
beforeAll(async () => {
  twin = await startModelTwin({
    config: { resources: [{ name: 'swedencentral', keys: ['old'], deployments: [{ name: 'gpt', model: 'gpt-4.1' }] }] },
  })
})
afterAll(() => twin.close())

let keys: UpstreamKeys | undefined
let models: Models | undefined
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-keys-'))
  writeFileSync(join(folder, 'key'), 'old\n')
  await twin.post('keys', { resource: 'swedencentral', keys: ['old'] })
})
afterEach(async () => {
  keys?.close()
  await models?.close()
  keys = models = undefined
  rmSync(folder, { recursive: true })
})

const keyed = (path = join(folder, 'key')): Deployment => {
  const { api_key: _, ...deployment } = deploymentOn(twin, 'gpt')
  return { ...deployment, api_key_file: path }
}
// A new file in the place of the old one, as secret stores write them.
const rotate = (key: string) => {
  writeFileSync(join(folder, 'next'), key)
  renameSync(join(folder, 'next'), join(folder, 'key'))
}
const call = (deployment: Deployment, onDelta?: () => void) => {
  models ??= createModels({ deployments: [deployment], clock: systemClock, keys })
  const body = { model: 'auto', messages: [{ role: 'user', content: 'hi' }] }
  return models.call(deployment, { url: '/v1/chat/completions', body, requestId: 'req_1', onDelta })
}

describe('a key from a file', () => {
  it('is read again when the file changes', async () => {
    const deployment = keyed()
    keys = createUpstreamKeys({ deployments: [deployment], clock: systemClock, intervalMs: 10 })
    expect(keys.of(deployment)).toBe('old')
    rotate('new')
    await expect.poll(() => keys?.of(deployment), { timeout: 10_000 }).toBe('new')
    rmSync(join(folder, 'key'))
    symlinkSync(join(folder, 'elsewhere'), join(folder, 'key'))
    writeFileSync(join(folder, 'elsewhere'), 'newest')
    await expect.poll(() => keys?.of(deployment), { timeout: 10_000 }).toBe('newest')
  })

  it.each([
    ['whole', undefined],
    ['streamed', () => undefined],
  ])('that was refused is read at once, and the call made again: %s', async (_name, onDelta) => {
    const deployment = keyed()
    // Looks at the file once an hour only.
    keys = createUpstreamKeys({ deployments: [deployment], clock: systemClock, intervalMs: 3_600_000 })
    expect((await call(deployment, onDelta)).status).toBe(200)
    await twin.post('keys', { resource: 'swedencentral', keys: ['new'] })
    await expect(call(deployment, onDelta)).rejects.toMatchObject({ code: 'model_unauthorized' })
    rotate('new')
    expect((await call(deployment, onDelta)).status).toBe(200)
  })

  it('stays as it was while the file is away or empty', async () => {
    const deployment = keyed()
    keys = createUpstreamKeys({ deployments: [deployment], clock: systemClock, intervalMs: 3_600_000 })
    rotate('')
    expect(await keys.refresh(deployment)).toBe(false)
    rmSync(join(folder, 'key'))
    expect(await keys.refresh(deployment)).toBe(false)
    expect(keys.of(deployment)).toBe('old')
  })

  it('that is not there at the start is one clear sentence', () => {
    const missing = () => createUpstreamKeys({ deployments: [keyed('/nowhere/key')], clock: systemClock })
    expect(missing).toThrow('gpt: its api_key_file /nowhere/key cannot be read')
  })
})
