import { createBudgets } from '@sluice/admission'
import { createLogger } from '@sluice/telemetry'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
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
