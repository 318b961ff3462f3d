import { AppError } from '@sluice/errors'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { arrival, chat, LedgerFixture } from './ledger-fixture.ts'
import { type StandIns, startStorage } from './storage-stand-ins.ts'

// A request that was accepted and then may no longer run, because the configuration changed before a worker had it.

let stores: StandIns
let fixture: LedgerFixture
beforeAll(async () => {
  stores = await startStorage()
})
beforeEach(async () => {
  fixture = await LedgerFixture.over(stores)
})
afterEach(() => fixture.close())
afterAll(() => stores.stop())

const error = new AppError('tenant_not_allowed', 'sluice.tenant: may not use requests-standard')

it('ends the row that a message was sent for, though its bytes hash to something else', async () => {
  const ledger = fixture.worker()
  const input = arrival()
  const { row } = await ledger.accept(input)
  const content = Buffer.from(JSON.stringify(input.line))
  const { tenant, key, lane } = input
  const refusal = { tenant, key, lane, via: 'service-bus' as const, content, enqueuedAt: fixture.clock.now(), error }
  await expect(ledger.reject(refusal)).rejects.toMatchObject({ code: 'idempotency_conflict' })
  const ended = await ledger.reject({ ...refusal, sentFor: input.line })
  expect(ended).toMatchObject({ id: row.id, status: 'failed', result: { error: { code: 'tenant_not_allowed' } } })
  expect(await fixture.row(ledger, row)).toEqual(ended)
})

it('leaves the row of another line alone', async () => {
  const ledger = fixture.worker()
  const input = arrival()
  const { row } = await ledger.accept(input)
  const other = chat('something else')
  const content = Buffer.from(JSON.stringify(other))
  const { tenant, key, lane } = input
  await expect(
    ledger.reject({ tenant, key, lane, via: 'service-bus', content, sentFor: other, enqueuedAt: 0, error }),
  ).rejects.toMatchObject({ code: 'idempotency_conflict' })
  expect(await fixture.row(ledger, row)).toMatchObject({ status: 'accepted' })
})
