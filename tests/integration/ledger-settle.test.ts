import { resultLineSchema } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { FinishInput, Ledger, Row } from '@sluice/ledger'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { arrival, chat, held, LedgerFixture } from './ledger-fixture.ts'
import { type StandIns, startStorage } from './storage-stand-ins.ts'

let stores: StandIns
let fixture: LedgerFixture
let ledger: Ledger
beforeAll(async () => {
  stores = await startStorage()
  fixture = await LedgerFixture.over(stores)
  ledger = fixture.worker()
})
afterAll(async () => {
  await fixture.close()
  await stores.stop()
})

const answer = (content: string): FinishInput => ({
  status: 'succeeded',
  response: { status_code: 200, request_id: 'r1', body: { choices: [{ message: { content } }] } },
  decision: {
    score: 0.4,
    tier: 'small',
    model: 'gpt-small',
    deployment: 'small-se',
    region: 'swedencentral',
    why: 'short',
    attempts: [{ deployment: 'small-se', status: 200, ms: 12 }],
    cache: 'off',
    escalated: false,
  },
  usage: { input_tokens: 3, cached_tokens: 0, output_tokens: 5, reasoning_tokens: 0 },
  costUsd: 0.001,
  modelMs: 12,
})

describe('finish', () => {
  it('stores the result as a line of the output format', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    await fixture.clock.advance(40)
    const row = await ledger.finish(claim, answer('hello'))
    expect(await fixture.row(ledger, row)).toEqual(row)
    expect(resultLineSchema.parse(row.result)).toEqual(row.result)
    expect(row).toMatchObject({
      status: 'succeeded',
      published: false,
      result: {
        id: row.id,
        custom_id: 'order-17',
        error: null,
        response: { status_code: 200, body: { choices: [{ message: { content: 'hello' } }] } },
        sluice: { tenant: 'contoso', cost_usd: 0.001, timings_ms: { queued: 0, model: 12, total: 40 } },
      },
    })
  })

  it('puts a large answer into Blob first', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    const row = await ledger.finish(claim, answer('x'.repeat(30_000)))
    const response = row.result?.response
    expect(response).toMatchObject({ status_code: 200, request_id: 'r1' })
    expect(response?.body).toBeUndefined()
    if (response?.body_ref === undefined) throw new Error('the answer was not put away')
    const body = JSON.parse((await fixture.blobs.get('contoso', response.body_ref)).toString()) as unknown
    expect(body).toEqual(answer('x'.repeat(30_000)).response?.body)
  })

  it('lets the first terminal patch win', async () => {
    const input = arrival()
    const first = held(await ledger.claim(fixture.claimInput(input)))
    await ledger.sweeping.takeOver(first.row)
    const second = held(await ledger.claim(fixture.claimInput(input, { expectExisting: true })))
    const row = await ledger.finish(second, answer('second'))
    await expect(ledger.finish(first, answer('first'))).rejects.toMatchObject({ code: 'lease_lost' })
    expect(await ledger.finish(second, answer('again'))).toEqual(row)
    expect((await fixture.row(ledger, row)).result).toEqual(row.result)
  })

  it('recognises its own write when the answer to it got lost', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    // The same write twice is what a lost answer and its repetition look like to the row.
    const [one, two] = await Promise.all([ledger.finish(claim, answer('a')), ledger.finish(claim, answer('a'))])
    expect(one).toEqual(two)
  })

  it('refuses a claim of another ledger', async () => {
    const stranger = { fence: 1, row: {} as Row, signal: new AbortController().signal, body: vi.fn(), release: vi.fn() }
    await expect(async () => ledger.finish(stranger, answer('x'))).rejects.toThrow(TypeError)
  })
})

describe('park and giveBack', () => {
  it('park makes the row wait, does not count as an attempt, and the first start is kept', async () => {
    const input = arrival()
    const claim = held(await ledger.claim(fixture.claimInput(input)))
    const notBefore = fixture.clock.now() + 60_000
    await fixture.clock.advance(100)
    const parked = await ledger.park(claim, { notBeforeMs: notBefore })
    expect(parked).toMatchObject({
      status: 'waiting',
      attempts: 0,
      fence: 1,
      owner: null,
      not_before: new Date(notBefore).toISOString(),
    })
    const again = held(await ledger.claim(fixture.claimInput(input, { expectExisting: true })))
    expect(again.row).toMatchObject({
      status: 'running',
      fence: 2,
      attempts: 1,
      first_started_at: claim.row.started_at,
    })
    await expect(ledger.finish(claim, answer('late'))).rejects.toMatchObject({ code: 'lease_lost' })
    const row = await ledger.finish(again, answer('x'))
    expect(row.result?.sluice.timings_ms).toEqual({ queued: 0, model: 12, total: 100 })
  })

  it('giveBack undoes the claim, so that a redelivery claims at once', async () => {
    const input = arrival()
    const claim = held(await ledger.claim(fixture.claimInput(input)))
    expect(await ledger.giveBack(claim)).toMatchObject({ status: 'accepted', attempts: 0, fence: 1 })
    const again = held(await ledger.claim(fixture.claimInput(input, { expectExisting: true })))
    expect(again.row).toMatchObject({ fence: 2, attempts: 1 })
    again.release()
  })

  it('end the claim for good, also while nobody else has the row', async () => {
    for (const end of ['park', 'giveBack'] as const) {
      const claim = held(await ledger.claim(fixture.claimInput(arrival())))
      const row = await (end === 'park'
        ? ledger.park(claim, { notBeforeMs: fixture.clock.now() })
        : ledger.giveBack(claim))
      await expect(ledger.finish(claim, answer('late'))).rejects.toMatchObject({ code: 'lease_lost' })
      expect(await fixture.row(ledger, row)).toEqual(row)
    }
  })

  it('neither works for a claim that a successor took over', async () => {
    for (const end of [
      (claim: never) => ledger.park(claim, { notBeforeMs: 0 }),
      (claim: never) => ledger.giveBack(claim),
    ]) {
      const claim = held(await ledger.claim(fixture.claimInput(arrival())))
      await ledger.sweeping.takeOver(claim.row)
      await expect(end(claim as never)).rejects.toMatchObject({ code: 'lease_lost' })
    }
  })
})

describe('cancel', () => {
  it.each(['accepted', 'waiting'])('ends a request that is %s with a result', async (status) => {
    const input = arrival()
    const { row } = await ledger.accept(input)
    if (status === 'waiting') {
      const claim = held(await ledger.claim(fixture.claimInput(input, { expectExisting: true })))
      await ledger.park(claim, { notBeforeMs: fixture.clock.now() + 1_000 })
    }
    const cancelled = await ledger.cancel('contoso', row.id)
    expect(cancelled).toMatchObject({ status: 'cancelled', published: false, result: { error: { code: 'cancelled' } } })
    const claim = await ledger.claim(fixture.claimInput(input, { expectExisting: true }))
    expect(claim.kind).toBe('finished')
  })

  it('leaves a result alone and is repeatable', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    expect(await ledger.cancel('contoso', claim.row.id)).toMatchObject({ status: 'cancel_requested' })
    expect(await ledger.cancel('contoso', claim.row.id)).toMatchObject({ status: 'cancel_requested' })
    const row = await ledger.finish(claim, answer('just in time'))
    expect(await ledger.cancel('contoso', row.id)).toEqual(row)
  })

  it("knows no other tenant's request", async () => {
    const { row } = await ledger.accept(arrival())
    await expect(ledger.cancel('fabrikam', row.id)).rejects.toMatchObject({ code: 'not_found', status: 404 })
    expect(await ledger.get('fabrikam', row.id)).toBeUndefined()
  })
})

describe('reject', () => {
  const error = new AppError('invalid_line', 'body: required', { param: 'body' })
  const bad = { tenant: 'contoso', lane: 'requests-standard', via: 'service-bus' as const, error }

  it('stores failed for bytes in which no line can be read, once', async () => {
    const input = { ...bad, key: 'm1', content: Buffer.from('{"custom_id":'), enqueuedAt: fixture.clock.now() }
    const row = await ledger.reject({ ...input, customId: 'c1', deliver: [{ type: 'event-hubs' }] })
    expect(row).toMatchObject({
      status: 'failed',
      published: false,
      line: { custom_id: 'c1', sluice: { deliver: [{ type: 'event-hubs' }] } },
      result: { custom_id: 'c1', response: null, error: { code: 'invalid_line', param: 'body' } },
    })
    await fixture.clock.advance(10)
    expect(await ledger.reject(input)).toEqual(row)
  })

  it('ends a stored request that nobody runs, and leaves one that runs to its owner', async () => {
    const input = arrival()
    const { row } = await ledger.accept(input)
    const poison = { ...bad, key: input.key, content: input.line, enqueuedAt: fixture.clock.now() }
    const claim = held(await ledger.claim(fixture.claimInput(input, { expectExisting: true })))
    expect(await ledger.reject(poison)).toMatchObject({ status: 'running' })
    await ledger.giveBack(claim)
    expect(await ledger.reject(poison)).toMatchObject({
      id: row.id,
      status: 'failed',
      result: { error: { param: 'body' } },
    })
  })

  it('never touches a request that shares the key by accident', async () => {
    const input = arrival()
    const { row } = await ledger.accept(input)
    const clash = { ...bad, key: input.key, content: Buffer.from('{'), enqueuedAt: fixture.clock.now() }
    await expect(ledger.reject(clash)).rejects.toMatchObject({ code: 'idempotency_conflict' })
    expect(await fixture.row(ledger, row)).toEqual(row)
  })
})

describe('markPublished', () => {
  it('flips many rows with one lazy write', async () => {
    const rows = await Promise.all(
      Array.from({ length: 30 }, async () =>
        ledger.finish(held(await ledger.claim(fixture.claimInput(arrival()))), answer('x')),
      ),
    )
    for (const row of rows) ledger.markPublished(row)
    await fixture.clock.advance(1_000)
    await vi.waitFor(
      async () => {
        const stored = await Promise.all(rows.map((row) => fixture.row(ledger, row)))
        expect(stored.every(({ published }) => published)).toBe(true)
      },
      { timeout: 10_000 },
    )
  })

  it('writes what is pending when the ledger closes', async () => {
    const closing = fixture.worker()
    const row = await closing.finish(held(await closing.claim(fixture.claimInput(arrival()))), answer('x'))
    closing.markPublished(row)
    await closing.close()
    expect(await fixture.row(ledger, row)).toMatchObject({ published: true, status: 'succeeded' })
  })
})

describe('list', () => {
  it("shows a tenant's requests, newest first, page by page and without bodies", async () => {
    const made: Row[] = []
    for (let index = 0; index < 7; index++) {
      await fixture.clock.advance(index % 3 === 0 ? 10 : 0)
      const { row } = await ledger.accept(arrival({ tenant: 'lister', line: chat(`n${index}`) }))
      made.push(row)
    }
    const expected = made.sort((a, b) =>
      a.accepted_at === b.accepted_at ? (a.id < b.id ? 1 : -1) : a.accepted_at < b.accepted_at ? 1 : -1,
    )
    const seen: string[] = []
    let continuation: string | undefined
    do {
      const page = await ledger.list('lister', { limit: 3, continuation })
      expect(page.rows.length).toBeLessThanOrEqual(3)
      for (const row of page.rows) expect(row).not.toHaveProperty('body')
      seen.push(...page.rows.map(({ id }) => id))
      continuation = page.continuation
    } while (continuation !== undefined)
    expect(seen).toEqual(expected.map(({ id }) => id))
    await ledger.cancel('lister', made[0]?.id ?? '')
    expect((await ledger.list('lister', { limit: 10, status: 'cancelled' })).rows.map(({ id }) => id)).toEqual([
      made[0]?.id,
    ])
  })

  it.each(['', 'x', Buffer.from('2026 a b').toString('base64url'), '%%%'])(
    'refuses %j as a continuation',
    async (continuation) => {
      await expect(ledger.list('lister', { limit: 1, continuation })).rejects.toMatchObject({
        code: 'invalid_line',
        param: 'continuation',
      })
    },
  )
})
