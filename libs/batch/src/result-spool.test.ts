import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ResultSpool } from './result-spool.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spool-test-'))
  vi.stubEnv('TMPDIR', folder)
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

test('results come back in the order of their lines, from a file that nobody else can open', () => {
  const spool = new ResultSpool()
  try {
    const large = 'x'.repeat(2 * 1024 * 1024)
    expect([spool.add(2, 'c'), spool.add(0, large), spool.add(1, 'ä'), spool.add(2, 'again')]).toEqual([
      true,
      true,
      true,
      false,
    ])
    expect([...spool.sorted()]).toEqual([
      { index: 0, text: large },
      { index: 1, text: 'ä' },
      { index: 2, text: 'c' },
    ])
    // What a killed worker would leave behind.
    expect(readdirSync(folder)).toEqual([])
  } finally {
    spool.close()
  }
})
