import { ManualClock } from '@sluice/resilience'
import { connectBlobs } from '@sluice/storage'
import { createLogger } from '@sluice/telemetry'
import { expect, test } from 'vitest'
import { createEventBlobSweeper } from '../../services/notifier/src/event-blobs.ts'
import { claimCheck } from '../../services/notifier/src/large-results.ts'
import { finished } from './notifier-fixture.ts'
import { startAzurite } from './storage-stand-ins.ts'

const day = 24 * 3600 * 1000

test('events in Blob go with their day, of every tenant, and nothing else does', async () => {
  const azurite = await startAzurite()
  try {
    const blobs = connectBlobs({ connectionString: azurite.connectionString, container: 'sluice' })
    await blobs.provision()
    const clock = new ManualClock()
    const { signal } = new AbortController()
    const stored = async (tenant: string, daysAgo: number) => {
      const time = new Date(clock.now() - daysAgo * day).toISOString()
      const { data } = await claimCheck(tenant, finished(tenant, { time }), blobs, signal)
      return (data as { event_ref: { blob: string } }).event_ref.blob
    }
    const old = [await stored('contoso', 9), await stored('contoso', 8), await stored('fabrikam', 30)]
    const young = [await stored('contoso', 7), await stored('contoso', 0)]
    const result = await blobs.put('contoso', 'results/1/response.json', Buffer.from('{}'), 'application/json')

    const deps = { blobs, clock, logger: createLogger({ service: 'test', level: 'silent' }) }
    const tenants = ['contoso', 'fabrikam', 'nobody']
    const keeping = createEventBlobSweeper({ ...deps, tenants, retentionMs: undefined })
    expect(await keeping.sweepOnce()).toBe(0)
    const sweeper = createEventBlobSweeper({ ...deps, tenants, retentionMs: 7 * day })
    expect(await sweeper.sweepOnce()).toBe(old.length)
    expect(await sweeper.sweepOnce()).toBe(0)
    expect(await blobs.list('contoso', 'events', 100)).toEqual(young.toSorted())
    expect(await blobs.list('fabrikam', 'events', 100)).toEqual([])
    expect(await blobs.get('contoso', result)).toEqual(Buffer.from('{}'))
    await sweeper.stop()
  } finally {
    await azurite.stop()
  }
})
