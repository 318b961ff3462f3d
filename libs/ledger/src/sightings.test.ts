import { describe, expect, it } from 'vitest'
import type { Observed } from './ledger-types.ts'
import { Sightings } from './sightings.ts'

const row = (id: string, over: Partial<Observed> = {}): Observed => ({
  id,
  tenant: 'contoso',
  status: 'running',
  fence: 1,
  beat: 0,
  lane: 'requests-standard',
  updated_at: '2026-01-01T00:00:00.000Z',
  ...over,
})

describe('Sightings', () => {
  it('counts from the first sight of what it sees, whatever the row says of its times', () => {
    const sightings = new Sightings(10)
    expect(sightings.stoodStillMs(row('1'), 1_000)).toBe(0)
    expect(sightings.stoodStillMs(row('1', { updated_at: '2030-01-01T00:00:00.000Z' }), 4_000)).toBe(3_000)
  })

  it.each([{ fence: 2 }, { beat: 1 }, { status: 'cancel_requested' as const }])('begins anew with %j', (change) => {
    const sightings = new Sightings(10)
    sightings.stoodStillMs(row('1'), 0)
    expect(sightings.stoodStillMs(row('1', change), 5_000)).toBe(0)
    expect(sightings.stoodStillMs(row('1', change), 6_000)).toBe(1_000)
  })

  it('keeps tenants apart', () => {
    const sightings = new Sightings(10)
    sightings.stoodStillMs(row('1'), 0)
    expect(sightings.stoodStillMs(row('1', { tenant: 'fabrikam' }), 5_000)).toBe(0)
  })

  it('forgets a row that a whole round did not show', () => {
    const sightings = new Sightings(10)
    sightings.stoodStillMs(row('1'), 0)
    sightings.endRound()
    sightings.stoodStillMs(row('2'), 1_000)
    sightings.endRound()
    expect(sightings.stoodStillMs(row('1'), 2_000)).toBe(0)
    expect(sightings.stoodStillMs(row('2'), 2_000)).toBe(1_000)
  })

  it('does not grow beyond its bound, and makes room when rows settle', () => {
    const sightings = new Sightings(2)
    for (const id of ['1', '2', '3']) sightings.stoodStillMs(row(id), 0)
    expect(sightings.stoodStillMs(row('3'), 9_000)).toBe(0)
    sightings.stoodStillMs(row('1'), 9_000)
    sightings.endRound()
    sightings.stoodStillMs(row('1'), 9_000)
    sightings.endRound()
    sightings.stoodStillMs(row('3'), 10_000)
    expect(sightings.stoodStillMs(row('3'), 11_000)).toBe(1_000)
  })

  it('knows nothing after it was told to forget', () => {
    const sightings = new Sightings(10)
    sightings.stoodStillMs(row('1'), 0)
    sightings.forget()
    expect(sightings.stoodStillMs(row('1'), 60_000)).toBe(0)
  })
})
