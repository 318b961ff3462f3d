import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))

test('the rule of import levels reports every seeded violation', () => {
  const { stdout } = spawnSync(
    `${root}node_modules/.bin/oxlint`,
    ['--format=json', '--no-ignore', '-c', `${root}tests/fixtures/lint/oxlintrc.json`, `${root}tests/fixtures/lint`],
    { cwd: root, encoding: 'utf8' },
  )
  const { diagnostics } = JSON.parse(stdout) as { diagnostics: { code: string; message: string }[] }
  const reported = diagnostics.filter(({ code }) => code === 'sluice(import-levels)').map(({ message }) => message)
  expect(reported.sort()).toEqual([
    'errors (level 0) may not import ledger (level 3)',
    'import service-kit through its index, never a file inside it',
    'production code never imports an emulator',
    'reach storage by its package name, never by a path into its src',
  ])
})
