import { AppError } from '@sluice/errors'
import type { EndpointRow } from '@sluice/ledger'
import { ManualClock } from '@sluice/resilience'
import { expect, test } from 'vitest'
import { createEndpointDirectory } from './endpoint-directory.ts'

const endpoint = (id: string, event_types: string[], tenant = 'contoso') => ({ id, tenant, event_types }) as EndpointRow

function directoryOf(list: (tenant: string) => Promise<EndpointRow[]>) {
  const clock = new ManualClock()
  let reads = 0
  const endpoints = {
    list: (tenant: string) => {
      reads++
      return list(tenant)
    },
  }
  return { clock, directory: createEndpointDirectory({ endpoints, clock, staleMs: 5_000 }), reads: () => reads }
}

test('whoever asks while the endpoints are read waits for that read, and the answer is believed for a while', async () => {
  const { clock, directory, reads } = directoryOf(async () => [endpoint('a', ['*']), endpoint('b', ['sluice.batch.*'])])
  const all = await Promise.all(
    Array.from({ length: 20 }, () => directory.matching('contoso', 'sluice.request.succeeded')),
  )
  expect(all.every((rows) => rows.map(({ id }) => id).join() === 'a')).toBe(true)
  expect((await directory.matching('contoso', 'sluice.batch.progress')).map(({ id }) => id)).toEqual(['a', 'b'])
  expect(reads()).toBe(1)
  await clock.advance(5_000)
  await directory.find('contoso', 'a')
  expect(reads()).toBe(2)
  await directory.find('fabrikam', 'a')
  expect(reads()).toBe(3)
})

test('a read that fails is not remembered', async () => {
  let away = true
  const { directory } = directoryOf(async () => {
    if (away) throw new AppError('storage_unavailable', 'away')
    return [endpoint('a', ['*'])]
  })
  await expect(directory.find('contoso', 'a')).rejects.toMatchObject({ code: 'storage_unavailable' })
  away = false
  expect(await directory.find('contoso', 'a')).toMatchObject({ id: 'a' })
})

test('what was just written is known at once', async () => {
  const { directory } = directoryOf(async () => [endpoint('a', ['*'])])
  await directory.find('contoso', 'a')
  directory.note({ ...endpoint('a', ['*']), status: 'disabled' })
  expect(await directory.find('contoso', 'a')).toMatchObject({ status: 'disabled' })
})

test.each([
  [['*'], 'sluice.endpoint.disabled', 1],
  [['sluice.request.*'], 'sluice.request.failed', 1],
  [['sluice.request.failed'], 'sluice.request.failed', 1],
  [['sluice.request.failed'], 'sluice.request.succeeded', 0],
  [['sluice.request.*'], 'sluice.requests.failed', 0],
])('%j and %s: %i', async (filters, type, count) => {
  const { directory } = directoryOf(async () => [endpoint('a', filters)])
  expect(await directory.matching('contoso', type)).toHaveLength(count)
})
