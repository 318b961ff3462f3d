import { ChangeFeedMode, ChangeFeedStartFrom, type ChangeFeedIteratorOptions, type Container } from '@azure/cosmos'
import { describe, expect, test } from 'vitest'
import { failure, hierarchical, realAccount, useAccount } from './cosmos-account.ts'

const iterate = (container: Container, changeFeedStartFrom: ChangeFeedStartFrom, maxItemCount = 100) =>
  container.items.getChangeFeedIterator({ changeFeedStartFrom, maxItemCount } satisfies ChangeFeedIteratorOptions)

type Feed = ReturnType<typeof iterate>

/** Reads until there is nothing new: ids of the changed items and the continuation to go on from. */
const drain = async (feed: Feed): Promise<{ ids: string[]; continuation: string }> => {
  const ids: string[] = []
  for (;;) {
    const page = await feed.readNext()
    if (page.statusCode === 304) return { ids, continuation: page.continuationToken }
    ids.push(...(page.result as { id: string }[]).map(({ id }) => id))
  }
}

describe('cosmos change feed', () => {
  const account = useAccount()

  const filled = async (ids: string[], definition = {}): Promise<Container> => {
    const container = await account.container(definition)
    for (const id of ids) await container.items.create({ id, pk: id.charAt(0) })
    return container
  }

  test('from the beginning it yields every item once, in the order of its last change', async () => {
    const container = await filled(['a1', 'a2', 'b1'])
    await container.item('a1', 'a').patch([{ op: 'set', path: '/n', value: 1 }])
    await container.item('a2', 'a').delete()
    const feed = iterate(container, ChangeFeedStartFrom.Beginning())
    expect((await drain(feed)).ids).toEqual(['b1', 'a1'])
  })

  test('pages follow maxItemCount, and 304 says that nothing is new', async () => {
    const container = await filled(['a1', 'a2', 'a3'])
    const feed = iterate(container, ChangeFeedStartFrom.Beginning(), 2)
    const sizes: unknown[] = []
    for (let i = 0; i < 3; i += 1) {
      const page = await feed.readNext()
      sizes.push([page.statusCode, page.count])
    }
    expect(sizes).toEqual([
      [200, 2],
      [200, 1],
      [304, 0],
    ])
  })

  test('items carry _lsn, which grows', async () => {
    const container = await filled(['a1', 'a2', 'a3'])
    const page = await iterate(container, ChangeFeedStartFrom.Beginning()).readNext()
    const numbers = (page.result as unknown as { _lsn: number }[]).map(({ _lsn }) => _lsn)
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
    expect(new Set(numbers).size).toBe(3)
  })

  test('from now it yields only what changes afterwards', async () => {
    const container = await filled(['a1'])
    const feed = iterate(container, ChangeFeedStartFrom.Now())
    expect((await drain(feed)).ids).toEqual([])
    await container.items.create({ id: 'a2', pk: 'a' })
    expect((await drain(feed)).ids).toEqual(['a2'])
  })

  test('a continuation goes on where it was taken', async () => {
    const container = await filled(['a1', 'b1'])
    const { continuation } = await drain(iterate(container, ChangeFeedStartFrom.Beginning()))
    await container.items.create({ id: 'c1', pk: 'c' })
    await container.items.upsert({ id: 'a1', pk: 'a', n: 2 })
    expect((await drain(iterate(container, ChangeFeedStartFrom.Continuation(continuation)))).ids).toEqual(['c1', 'a1'])
  })

  test('a partition key sees its own changes only', async () => {
    const container = await filled(['a1', 'b1', 'a2'])
    const feed = iterate(container, ChangeFeedStartFrom.Beginning('a'))
    expect((await drain(feed)).ids).toEqual(['a1', 'a2'])
  })

  test('the feed ranges of a container cover all of it', async () => {
    const container = await filled(['a1', 'b1'])
    const seen: string[] = []
    for (const range of await container.getFeedRanges())
      seen.push(...(await drain(iterate(container, ChangeFeedStartFrom.Beginning(range)))).ids)
    expect(seen).toEqual(['a1', 'b1'])
  })

  test('a prefix of a hierarchical key sees what is under it: the key space hashes as the SDK does', async () => {
    const container = await account.container({ partitionKey: hierarchical('/tenant', '/user', '/id') })
    const tenants: (string | number | boolean | null)[] = [
      't',
      'tt',
      'a tenant with a name of more than sixteen bytes ü',
      7,
      -0.5,
      true,
      false,
      null,
    ]
    for (const [i, tenant] of tenants.entries())
      await container.items.create({ id: `${i}`, tenant, user: 'u' } as never)
    for (const [i, tenant] of tenants.entries())
      expect((await drain(iterate(container, ChangeFeedStartFrom.Beginning([tenant] as never)))).ids).toEqual([`${i}`])
    expect((await drain(iterate(container, ChangeFeedStartFrom.Beginning(['t', 'v'])))).ids).toEqual([])
  })

  test('the mode with all versions and deletes is a 400', async () => {
    const container = await filled(['a1'])
    const feed = container.items.getChangeFeedIterator({
      changeFeedMode: ChangeFeedMode.AllVersionsAndDeletes,
      changeFeedStartFrom: ChangeFeedStartFrom.Now(),
    })
    expect((await failure(feed.readNext())).code).toBe(400)
  })
})

describe.runIf(realAccount === undefined)('cosmos change feed from a point in time', () => {
  let now = Date.parse('2026-11-21T08:00:00Z')
  const account = useAccount({ clock: { now: () => now } })

  test('it yields what changed at that second or later', async () => {
    const container = await account.container()
    for (const id of ['first', 'second', 'third']) {
      await container.items.create({ id, pk: 'p' })
      now += 10_000
    }
    const feed = iterate(container, ChangeFeedStartFrom.Time(new Date(now - 20_000)))
    expect((await drain(feed)).ids).toEqual(['second', 'third'])
  })
})
