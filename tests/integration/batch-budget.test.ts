import { createBudgetCheck, createBudgets } from '@sluice/admission'
import type { Delivery } from '@sluice/messaging'
import { createLogger } from '@sluice/telemetry'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { handleBatch } from '../../services/batch-worker/src/handle-batch.ts'
import { BatchFixture, batchLine, type BatchStores, startBatchStores } from './batch-fixture.ts'

let stores: BatchStores
let fixture: BatchFixture
beforeAll(async () => void (stores = await startBatchStores()))
afterAll(() => stores.stop())
beforeEach(async () => void (fixture = await BatchFixture.over(stores)))
afterEach(() => fixture.close())

test('what a batch cost is spent from the budget of its tenant', async () => {
  const file = await fixture.upload(Array.from({ length: 12 }, (_, n) => batchLine(`order-${n}`)))
  const { id } = await fixture.submit(file.id)
  const { sluice } = await fixture.drive(fixture.worker(), id)
  expect(sluice.cost_usd).toBeGreaterThan(0)
  const logger = createLogger({ service: 'test', level: 'silent' })
  const { cosmos, clock } = fixture
  const budgets = createBudgets({ redis: stores.redis.client, cosmos, clock, logger })
  try {
    const spent = () => budgets.spend('contoso')
    await vi.waitFor(async () => expect((await spent()).monthUsd).toBeCloseTo(sluice.cost_usd ?? -1, 8), {
      timeout: 10_000,
      interval: 20,
    })
  } finally {
    await budgets.close()
  }
})

test('a file on the queue is refused once its tenant has spent its budget, and one that was taken before is not', async () => {
  const { cosmos, clock, files, batches } = fixture
  const platform = {
    ...fixture.platform,
    tenants: { contoso: { ...fixture.platform.tenants.contoso, budget: { day_usd: 1 } } },
  }
  const logger = createLogger({ service: 'test', level: 'silent' })
  const budgets = createBudgets({ redis: stores.redis.client, cosmos, clock, logger })
  try {
    const checkBudget = createBudgetCheck({ config: platform as typeof fixture.platform, budgets, clock })
    const handle = handleBatch({ platform: fixture.platform, files, batches, checkBudget, logger })
    const { blob } = await fixture.blobs.put(
      'contoso',
      'in/lines.jsonl',
      Buffer.from(JSON.stringify(batchLine('a'))),
      'application/jsonl',
    )
    const message = (messageId: string) => {
      const body = Buffer.from(JSON.stringify({ custom_id: messageId, input: { blob } }))
      return { messageId, body, properties: {}, deliveryCount: 0 } as Partial<Delivery> as Delivery
    }
    const signal = new AbortController().signal
    expect(await handle(message('before'), signal)).toEqual({ kind: 'complete' })
    const room = await budgets.reserve({ tenant: 'contoso', estimateUsd: 2, budget: {} })
    if (room.kind === 'held') room.hold.commit(2)
    await vi.waitFor(
      async () => {
        // What was read is believed for a second.
        await clock.advance(1_000)
        expect(await handle(message(crypto.randomUUID()), signal)).toMatchObject({
          kind: 'dead-letter',
          reason: 'budget_exceeded',
        })
      },
      { timeout: 10_000, interval: 20 },
    )
    expect(await handle(message('before'), signal)).toEqual({ kind: 'complete' })
    // Those that came while the money was on its way are batches; none came after.
    const { data } = await batches.list('contoso', { limit: 100 })
    expect(data.filter(({ metadata }) => metadata?.custom_id === 'before')).toHaveLength(1)
  } finally {
    await budgets.close()
  }
})
