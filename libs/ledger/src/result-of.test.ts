import { resultLineSchema } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { describe, expect, it } from 'vitest'
import { newRow } from './new-row.ts'
import { rejected, resultOf, unrun } from './result-of.ts'

const startMs = Date.UTC(2026, 0, 1)
const at = (ms: number) => new Date(startMs + ms).toISOString()
const row = newRow({
  tenant: 'contoso',
  key: 'k',
  lane: 'requests-standard',
  via: 'http',
  hash: 'h',
  line: { custom_id: 'order-17', method: 'POST', sluice: { deadline: '2026-01-01T02:00:00+01:00' } },
  acceptedAtMs: startMs,
  nowMs: startMs,
})

describe('a new row', () => {
  it('writes its times in UTC and takes no acceptance from the future', () => {
    expect(row).toMatchObject({ status: 'accepted', deadline: '2026-01-01T01:00:00.000Z', accepted_at: at(0) })
    const ahead = newRow({ ...row, line: row.line, acceptedAtMs: startMs + 9_000, nowMs: startMs })
    expect(ahead.accepted_at).toBe(at(0))
  })
})

describe('resultOf', () => {
  it('counts as queued until the first claim, however often it was claimed', () => {
    const claimed = { ...row, first_started_at: at(200), started_at: at(5_000) }
    const result = resultOf(claimed, { status: 'succeeded', modelMs: 40 }, startMs + 6_000)
    expect(result.sluice.timings_ms).toEqual({ queued: 200, model: 40, total: 6_000 })
    expect(resultLineSchema.parse(result)).toEqual(result)
  })

  it('counts a request that never ran as queued to its end', () => {
    const result = resultOf(row, unrun('expired'), startMs + 700)
    expect(result.sluice).toMatchObject({ status: 'expired', timings_ms: { queued: 700, model: 0, total: 700 } })
    expect(result.error?.code).toBe('deadline_exceeded')
  })

  it('says what was wasted, when something was', () => {
    const paid = resultOf(row, { status: 'succeeded', costUsd: 0.003, wasteUsd: 0.001 }, startMs)
    expect(paid.sluice).toMatchObject({ cost_usd: 0.003, waste_usd: 0.001 })
    expect(resultLineSchema.parse(paid)).toEqual(paid)
    const plain = resultOf(row, { status: 'succeeded', costUsd: 0.003, wasteUsd: 0 }, startMs)
    expect(plain.sluice).not.toHaveProperty('waste_usd')
  })

  it('has no negative times when clocks disagree', () => {
    const result = resultOf({ ...row, started_at: at(-50) }, { status: 'succeeded' }, startMs - 10)
    expect(result.sluice.timings_ms).toEqual({ queued: 0, model: 0, total: 0 })
  })

  it('carries code, message and field of a rejection', () => {
    const error = new AppError('invalid_line', 'body: required', { param: 'body' })
    const result = resultOf(row, rejected(error), startMs)
    expect(result).toMatchObject({ error: { code: 'invalid_line', message: 'body: required', param: 'body' } })
    expect(result.sluice.status).toBe('failed')
  })
})
