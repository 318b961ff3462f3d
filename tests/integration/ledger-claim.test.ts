import { createHash } from 'node:crypto'
import { requestIdOf } from '@sluice/contracts'
import type { Ledger } from '@sluice/ledger'
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

describe('accept', () => {
  it('stores a request once under its key, whoever asks how often', async () => {
    const input = arrival({ traceparent: '00-1234567890abcdef1234567890abcdef-1234567890abcdef-01' })
    const answers = await Promise.all([ledger.accept(input), fixture.worker().accept(input), ledger.accept(input)])
    expect(answers.filter(({ created }) => created)).toHaveLength(1)
    expect(new Set(answers.map(({ row }) => row.id))).toEqual(new Set([requestIdOf('contoso', input.key)]))
    expect(await fixture.row(ledger, answers[0].row)).toMatchObject({
      status: 'accepted',
      fence: 0,
      attempts: 0,
      published: false,
      body: input.line.body,
      line: { custom_id: 'order-17', url: '/v1/chat/completions' },
      traceparent: input.traceparent,
    })
  })

  it('refuses another request under the same key, and takes it from another tenant', async () => {
    const input = arrival()
    await ledger.accept(input)
    const other = { ...input, line: chat('something else') }
    await expect(ledger.accept(other)).rejects.toMatchObject({ code: 'idempotency_conflict', status: 409 })
    expect(await ledger.accept({ ...other, tenant: 'fabrikam' })).toMatchObject({ created: true })
  })

  it('keeps a large body in Blob under the tenant, and a claim brings it back', async () => {
    const input = arrival({ line: chat('ü'.repeat(20_000)) })
    const { row } = await ledger.accept(input)
    expect(row.body).toBeUndefined()
    expect(row.body_ref?.blob).toMatch(new RegExp(`^contoso/requests/${row.id}/`))
    const claim = held(await ledger.claim(fixture.claimInput(input, { expectExisting: true })))
    expect(await claim.body()).toEqual(input.line.body)
    claim.release()
  })

  it('finds the request when it comes back with the claim check of its own body', async () => {
    const input = arrival({ line: chat('x'.repeat(20_000)) })
    const { row } = await ledger.accept(input)
    const { body: _, ...line } = input.line
    if (row.body_ref === undefined) throw new Error('the body was not put away')
    const claimed = await ledger.claim(fixture.claimInput({ ...input, line: { ...line, body_ref: row.body_ref } }))
    held(claimed).release()
  })
})

describe('claim', () => {
  it('makes one owner of many at once, for a new request and for a stored one', async () => {
    const fresh = arrival()
    const stored = arrival()
    await ledger.accept(stored)
    for (const [input, fence] of [
      [fresh, 1],
      [stored, 1],
    ] as const) {
      const claims = await Promise.all(
        Array.from({ length: 5 }, (_, index) =>
          fixture.worker().claim(fixture.claimInput(input, { expectExisting: index % 2 === 0 })),
        ),
      )
      expect(claims.map(({ kind }) => kind).sort()).toEqual(['claimed', 'owned', 'owned', 'owned', 'owned'])
      const row = await fixture.row(ledger, { tenant: 'contoso', id: requestIdOf('contoso', input.key) })
      expect(row).toMatchObject({ status: 'running', fence, attempts: 1 })
      for (const result of claims) if (result.kind === 'claimed') result.claim.release()
    }
  })

  it('accepts and claims a request from the broker in one row, accepted when it was enqueued', async () => {
    const input = arrival()
    const enqueuedAt = fixture.clock.now() - 700
    const claim = held(
      await ledger.claim(fixture.claimInput(input, { enqueuedAt, replyTo: 'replies', replyToSessionId: 's1' })),
    )
    expect(await fixture.row(ledger, claim.row)).toEqual(claim.row)
    expect(claim.row).toMatchObject({
      via: 'service-bus',
      accepted_at: new Date(enqueuedAt).toISOString(),
      reply_to: 'replies',
      reply_to_session_id: 's1',
    })
    const row = await ledger.finish(claim, { status: 'succeeded', modelMs: 3 })
    expect(row.result?.sluice.timings_ms).toEqual({ queued: 700, model: 3, total: 700 })
  })

  it('creates the row when the sender was wrong about its being there', async () => {
    held(await ledger.claim(fixture.claimInput(arrival(), { expectExisting: true }))).release()
  })

  it('gives a redelivery the stored result', async () => {
    const input = arrival()
    await ledger.finish(held(await ledger.claim(fixture.claimInput(input))), { status: 'succeeded' })
    const again = await ledger.claim(fixture.claimInput(input, { expectExisting: true }))
    expect(again).toMatchObject({ kind: 'finished', row: { status: 'succeeded', result: { custom_id: 'order-17' } } })
  })

  it.each(['accepted', 'running', 'succeeded'])(
    'refuses another body under the key of a request that is %s',
    async (status) => {
      const input = arrival()
      await ledger.accept(input)
      if (status !== 'accepted') {
        const claim = held(await ledger.claim(fixture.claimInput(input)))
        if (status === 'succeeded') await ledger.finish(claim, { status: 'succeeded' })
        claim.release()
      }
      const before = await fixture.row(ledger, { tenant: 'contoso', id: requestIdOf('contoso', input.key) })
      const other = fixture.claimInput({ ...input, line: chat('something else') }, { expectExisting: true })
      await expect(ledger.claim(other)).rejects.toMatchObject({ code: 'idempotency_conflict' })
      expect(await fixture.row(ledger, before)).toEqual(before)
    },
  )

  it('refuses a claim check that is missing, of another tenant, different or no request', async () => {
    const { body: _, ...line } = chat()
    const bytes = Buffer.from('{"model":"auto"}')
    const ref = await fixture.blobs.put('contoso', 'in/1.json', bytes, 'application/json')
    const truncated = await fixture.blobs.put('contoso', 'in/2.json', Buffer.from('{"model":'), 'application/json')
    const failing = [
      [{ ...ref, blob: 'contoso/in/none.json' }, 'body_ref_not_found'],
      [{ ...ref, blob: 'fabrikam/in/1.json' }, 'body_ref_not_found'],
      [{ ...ref, sha256: createHash('sha256').digest('hex') }, 'body_ref_mismatch'],
      [ref, 'invalid_line'],
      [truncated, 'invalid_json'],
    ] as const
    for (const [body_ref, code] of failing) {
      const claim = held(await ledger.claim(fixture.claimInput(arrival({ line: { ...line, body_ref } }))))
      await expect(claim.body()).rejects.toMatchObject({ code, disposition: 'reject' })
      claim.release()
    }
  })
})

describe('a held claim', () => {
  it('beats while it is held and never after', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    expect((await fixture.beat(ledger, claim)).beat).toBe(1)
    expect((await fixture.beat(ledger, claim)).beat).toBe(2)
    const row = await ledger.finish(claim, { status: 'succeeded' })
    expect(row).toMatchObject({ status: 'succeeded', beat: 0 })
    await fixture.clock.advance(60_000)
    expect(await fixture.row(ledger, row)).toEqual(row)
    expect(claim.signal.aborted).toBe(false)
  })

  it('aborts when the caller cancels, and can then finish as cancelled', async () => {
    const claim = held(await ledger.claim(fixture.claimInput(arrival())))
    expect(await ledger.cancel('contoso', claim.row.id)).toMatchObject({ status: 'cancel_requested' })
    await fixture.beat(ledger, claim)
    await vi.waitFor(() => expect(claim.signal.aborted).toBe(true))
    expect(claim.signal.reason).toMatchObject({ code: 'cancelled' })
    await expect(ledger.park(claim, { notBeforeMs: fixture.clock.now() })).rejects.toMatchObject({ code: 'cancelled' })
    expect(await ledger.finish(claim, { status: 'cancelled' })).toMatchObject({ status: 'cancelled', published: false })
  })

  it('aborts with lease_lost when a successor owns the row, and counts a call that was made for nothing', async () => {
    const input = arrival()
    const claim = held(await ledger.claim(fixture.claimInput(input)))
    ledger.callStarted(claim)
    const doubleCalls = await fixture.counted('sluice_ledger_double_calls_total')
    await ledger.sweeping.takeOver(claim.row)
    await fixture.clock.advance(5_000)
    await vi.waitFor(() => expect(claim.signal.aborted).toBe(true), 5_000)
    expect(claim.signal.reason).toMatchObject({ code: 'lease_lost' })
    expect(await fixture.counted('sluice_ledger_double_calls_total')).toBe(doubleCalls + 1)
    await expect(ledger.finish(claim, { status: 'succeeded' })).rejects.toMatchObject({ code: 'lease_lost' })
    const successor = held(await ledger.claim(fixture.claimInput(input, { expectExisting: true })))
    expect(successor.row).toMatchObject({ fence: 3, attempts: 2 })
    successor.release()
  })
})
