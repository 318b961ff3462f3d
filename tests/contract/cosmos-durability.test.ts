import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ChangeFeedStartFrom, type Container } from '@azure/cosmos'
import { afterEach, describe, expect, test } from 'vitest'
import { connect, withClient } from './cosmos-account.ts'

const main = new URL('../../emulators/cosmos/src/main.ts', import.meta.url).pathname
const running = new Set<ChildProcess>()

interface Ready {
  ready: boolean
  port: number
  COSMOS_ENDPOINT: string
  COSMOS_KEY: string
}

const start = async (...args: string[]): Promise<{ child: ChildProcess; ready: Ready }> => {
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, EXIT_WITH_PARENT: '1' },
  })
  running.add(child)
  const lines = createInterface({ input: child.stdout })
  const [line] = (await once(lines, 'line', { signal: AbortSignal.timeout(20_000) })) as [string]
  return { child, ready: JSON.parse(line) as Ready }
}

const stop = async (child: ChildProcess, end: () => void): Promise<{ code: unknown; signal: unknown }> => {
  const exited = once(child, 'exit', { signal: AbortSignal.timeout(20_000) })
  end()
  const [code, signal] = (await exited) as [unknown, unknown]
  running.delete(child)
  return { code, signal }
}

describe('cosmos main.ts', () => {
  const directories: string[] = []
  afterEach(async () => {
    for (const child of running) await stop(child, () => child.kill('SIGKILL'))
    for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
  })
  const dataDir = (): string => {
    const directory = mkdtempSync(join(tmpdir(), 'cosmos-'))
    directories.push(directory)
    return directory
  }

  test('SIGKILL under concurrent writes loses nothing that was acknowledged, and numbering goes on', async () => {
    const data = dataDir()
    const acknowledged = new Map<string, number>()
    const first = await start('--data', data)
    let largestLsn = 0
    await withClient(connect(first.ready.COSMOS_ENDPOINT, first.ready.COSMOS_KEY), async (client) => {
      const { database } = await client.databases.create({ id: 'd' })
      const { container } = await database.containers.create({
        id: 'c',
        partitionKey: { paths: ['/pk'] },
        defaultTtl: -1,
      })
      let killed = false
      const write = async (worker: number): Promise<void> => {
        for (let i = 0; !killed; i += 1) {
          const id = `${worker}-${i % 50}`
          try {
            const { resource } = await container.items.upsert({ id, pk: `p${worker}`, version: i })
            if (resource !== undefined) acknowledged.set(id, i)
            if (acknowledged.size >= 300 && i >= 60) {
              killed = true
              first.child.kill('SIGKILL')
            }
          } catch {
            return
          }
        }
      }
      await Promise.all(Array.from({ length: 16 }, (_, worker) => write(worker)))
      await stop(first.child, () => first.child.kill('SIGKILL'))
    })
    const second = await start('--data', data)
    await withClient(connect(second.ready.COSMOS_ENDPOINT, second.ready.COSMOS_KEY), async (client) => {
      const container: Container = client.database('d').container('c')
      for (const [id, version] of acknowledged) {
        const { resource } = await container.item(id, `p${id.split('-')[0]}`).read<{ version: number }>()
        expect(resource?.version, id).toBeGreaterThanOrEqual(version)
      }
      expect((await container.read()).resource?.defaultTtl).toBe(-1)
      const feed = container.items.getChangeFeedIterator({
        changeFeedStartFrom: ChangeFeedStartFrom.Beginning(),
        maxItemCount: 10_000,
      })
      const before = (await feed.readNext()).result as unknown as { _lsn: number; _rid: string }[]
      largestLsn = Math.max(...before.map(({ _lsn }) => _lsn))
      const { resource } = await container.items.create({ id: 'after', pk: 'p' })
      const [after] = (await feed.readNext()).result as unknown as { _lsn: number }[]
      expect(after?._lsn).toBeGreaterThan(largestLsn)
      expect(before.every(({ _rid }) => _rid < (resource?._rid ?? ''))).toBe(true)
    })
    expect(acknowledged.size).toBeGreaterThanOrEqual(300)
  })

  test('deletes, batches, containers and indexes survive SIGKILL too', async () => {
    const data = dataDir()
    const first = await start('--data', data)
    await withClient(connect(first.ready.COSMOS_ENDPOINT, first.ready.COSMOS_KEY), async (client) => {
      const { database } = await client.databases.create({ id: 'd' })
      const { container } = await database.containers.create({ id: 'c', partitionKey: { paths: ['/pk'] } })
      await database.containers.create({ id: 'dropped', partitionKey: { paths: ['/pk'] } })
      for (let batch = 0; batch < 6; batch += 1)
        await container.items.batch(
          Array.from({ length: 100 }, (_, i) => ({
            operationType: 'Create' as const,
            resourceBody: { id: `${batch}-${i}`, pk: 'p', n: i },
          })),
          'p',
        )
      await container.item('0-0', 'p').delete()
      for (let i = 0; i < 4; i += 1) await container.items.query('SELECT * FROM c WHERE c.n = 7').fetchAll()
      await database.container('dropped').delete()
      await stop(first.child, () => first.child.kill('SIGKILL'))
    })
    const second = await start('--data', data)
    await withClient(connect(second.ready.COSMOS_ENDPOINT, second.ready.COSMOS_KEY), async (client) => {
      const container = client.database('d').container('c')
      expect((await container.items.query('SELECT VALUE COUNT(1) FROM c').fetchAll()).resources).toEqual([599])
      expect((await container.items.query('SELECT VALUE c.id FROM c WHERE c.n = 7').fetchAll()).resources).toHaveLength(
        6,
      )
      expect((await container.item('0-0', 'p').read()).statusCode).toBe(404)
      expect((await client.database('d').containers.readAll().fetchAll()).resources.map(({ id }) => id)).toEqual(['c'])
    })
    const state = (await (await fetch(`${second.ready.COSMOS_ENDPOINT}_control/state`)).json()) as {
      databases: { containers: { indexedPaths: number }[] }[]
    }
    expect(state.databases[0]?.containers[0]?.indexedPaths).toBe(1)
  })

  test('--port and --key are honoured, SIGTERM exits 0, and so does the end of stdin', async () => {
    const key = Buffer.alloc(64, 3).toString('base64')
    const first = await start('--key', key)
    expect(first.ready.COSMOS_KEY).toBe(key)
    expect(await stop(first.child, () => first.child.kill('SIGTERM'))).toEqual({ code: 0, signal: null })
    const second = await start('--port', String(first.ready.port))
    expect(second.ready.port).toBe(first.ready.port)
    expect(await stop(second.child, () => second.child.stdin?.end())).toEqual({ code: 0, signal: null })
  })
})
