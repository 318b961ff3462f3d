import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readableLine } from './log-lines.ts'
import { runningInstance, takeInstanceLock } from './single-instance.ts'
import { parseStackEnv, writeStackEnv } from './stack-env.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-stack-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

test('a shell and the parser read back what was written, and nobody else may', () => {
  const file = join(dir, 'stack.env')
  const values = { COSMOS_KEY: 'a+b/c==', SERVICE_BUS: 'Endpoint=sb://x;Key=$HOME "q" `x`;' }
  writeStackEnv(file, values)
  expect(parseStackEnv(readFileSync(file, 'utf8'))).toEqual(values)
  const shell = spawnSync('sh', ['-c', `. ${file}; printf '%s|%s' "$COSMOS_KEY" "$SERVICE_BUS"`], { encoding: 'utf8' })
  expect(shell.stdout).toBe(`${values.COSMOS_KEY}|${values.SERVICE_BUS}`)
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(() => writeStackEnv(file, { A: "it's" })).toThrow(/quote/)
})

test('a mark left by a process that is gone is taken over', () => {
  const file = join(dir, 'stack.pid')
  writeFileSync(file, '999999999')
  expect(runningInstance(file)).toBeUndefined()
  const lock = takeInstanceLock(file)
  expect(lock).toHaveProperty('release')
  expect(readFileSync(file, 'utf8')).toBe(String(process.pid))
  if ('release' in lock) lock.release()
})

test('a log line of JSON becomes one for a person', () => {
  const line = JSON.stringify({
    level: 30,
    time: 1,
    msg: 'accepted',
    service: 'ingest',
    pid: 1,
    requestId: 'req_1',
    n: 2,
  })
  expect(readableLine({ name: 'ingest', kind: 'line', line })).toBe('ingest        info  accepted requestId=req_1 n=2')
  expect(readableLine({ name: 'redis', kind: 'line', line: 'plain {' })).toBe('redis         plain {')
})
