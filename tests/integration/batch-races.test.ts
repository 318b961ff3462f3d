import type { BatchObject } from '@sluice/contracts'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { BatchFixture, batchLine, type BatchStores, isOver, startBatchStores } from './batch-fixture.ts'

// A machine that does many things at once may take its time.
vi.setConfig({ testTimeout: 90_000 })

let stores: BatchStores
beforeAll(async () => void (stores = await startBatchStores()))
afterAll(() => stores.stop())

const tenant = 'contoso'
const total = 4
const actions = ['advance', 'advance', 'advance', 'twice', 'pass', 'pass', 'flush', 'cancel', 'forget'] as const

/** What every look at a batch must show, whatever its workers do at the time. */
function checkOrder(seen: readonly BatchObject[]): void {
  for (const [index, batch] of seen.entries()) {
    const { completed, failed } = batch.request_counts
    expect(completed + failed).toBeLessThanOrEqual(total)
    if (isOver(batch)) expect(completed + failed).toBe(total)
    const before = seen[index - 1]
    if (before !== undefined && isOver(before)) {
      expect(batch.status).toBe(before.status)
      expect(batch.request_counts).toEqual(before.request_counts)
      expect(batch.output_file_id).toBe(before.output_file_id)
    }
  }
}

test('whatever workers do at the same time, a batch ends once, adds up, and answers each line once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ what: fc.constantFrom(...actions), who: fc.nat(2) }), { minLength: 5, maxLength: 30 }),
      async (steps) => {
        const fixture = await BatchFixture.over(stores)
        try {
          const workers = [fixture.worker(), fixture.worker(), fixture.worker()]
          const file = await fixture.upload(Array.from({ length: total }, (_, n) => batchLine(`n${n}`)))
          const { id } = await fixture.submit(file.id)
          const seen = [await fixture.batches.get(tenant, id)]
          const signal = new AbortController().signal
          const advance = async (who: number) => {
            const worker = workers[who]
            const [ref] = (await worker?.runner.due(1)) ?? []
            if (ref !== undefined) await worker?.runner.advance(ref, signal)
          }
          for (const { what, who } of steps) {
            if (what === 'advance') await advance(who)
            else if (what === 'twice') await Promise.all([advance(who), advance((who + 1) % 3)])
            else if (what === 'pass') await fixture.pass(25_000)
            else if (what === 'flush') await stores.redis.client.flushall()
            else if (what === 'cancel' && who === 2) await fixture.batches.cancel(tenant, id)
            // A worker that died: its lease runs out, and the twin goes on meanwhile.
            else await fixture.pass(60_000)
            seen.push(await fixture.batches.get(tenant, id))
          }
          const batch = await fixture.drive(fixture.worker(), id)
          seen.push(batch)
          checkOrder(seen)
          const lines = [...(await fixture.lines(batch.output_file_id)), ...(await fixture.lines(batch.error_file_id))]
          const known = lines.map(({ custom_id }) => custom_id)
          expect(new Set(known).size).toBe(known.length)
          if (batch.status === 'completed') expect(known).toEqual(['n0', 'n1', 'n2', 'n3'])
          // However many looked after it, the region was asked once.
          expect((await fixture.regionalBatches()).length).toBeLessThanOrEqual(1)
        } finally {
          await fixture.close()
        }
      },
    ),
    { numRuns: 8 },
  )
})
