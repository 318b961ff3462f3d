import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { GroupCommit, type CommitHooks } from './group-commit.ts'

const open = (hooks: Partial<CommitHooks> = {}) => {
  const database = new DatabaseSync(':memory:')
  database.exec('CREATE TABLE t (n INTEGER PRIMARY KEY)')
  const insert = (n: number) => database.prepare('INSERT INTO t VALUES (?)').run(n)
  const rows = () =>
    database
      .prepare('SELECT n FROM t ORDER BY n')
      .all()
      .map(({ n }) => Number(n))
  return {
    database,
    insert,
    rows,
    commit: new GroupCommit(database, { beforeCommit: () => undefined, afterRollback: () => undefined, ...hooks }),
  }
}

test('writes of one turn share a transaction, and replies wait for its commit in order', async () => {
  const { database, insert, commit } = open()
  const released: string[] = []
  for (const n of [1, 2]) {
    commit.begin()
    insert(n)
    commit.afterCommit(() => released.push(`write ${n}, open: ${database.isTransaction}`))
  }
  commit.afterCommit(() => released.push('a read that may have seen them'))
  expect(released).toEqual([])
  await new Promise((resolve) => setImmediate(resolve))
  expect(released).toEqual(['write 1, open: false', 'write 2, open: false', 'a read that may have seen them'])
})

test('a read with nothing to wait for is released at once', () => {
  const { commit } = open()
  let released = false
  commit.afterCommit(() => {
    released = true
  })
  expect(released).toBe(true)
})

test('a commit that fails is rolled back and reported to everyone who waited', () => {
  let reloaded = 0
  const beforeCommit = (): void => {
    throw new Error('disk full')
  }
  const { insert, rows, commit } = open({ beforeCommit, afterRollback: () => void (reloaded += 1) })
  commit.begin()
  insert(1)
  const reported: (string | undefined)[] = []
  commit.afterCommit((error) => reported.push(error?.message))
  commit.flush()
  expect(reported).toEqual(['disk full'])
  expect(reloaded).toBe(1)
  expect(rows()).toEqual([])
})

test('atomically undoes its own writes only', () => {
  const { insert, rows, commit } = open()
  commit.begin()
  insert(1)
  const failing = (): void =>
    commit.atomically(() => {
      insert(2)
      throw new Error('no')
    })
  expect(failing).toThrow('no')
  expect(commit.atomically(() => insert(3).changes)).toBe(1)
  commit.close()
  expect(rows()).toEqual([1, 3])
})

test('a closed store takes no more writes', () => {
  const { commit } = open()
  commit.close()
  expect(() => commit.begin()).toThrow('closed')
})
