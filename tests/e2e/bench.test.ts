import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))

// The short version shows that the bench works; its figures are not judged, because they depend on the machine.
test('the pipeline bench writes its figures', () => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-test-'))
  const file = join(dir, 'pipeline.json')
  try {
    const run = spawnSync('npm', ['run', 'bench', '--', 'pipeline', '--short', '--json', file], {
      cwd: root,
      encoding: 'utf8',
      timeout: 150_000,
    })
    expect(run.status, run.stderr).toBe(0)
    const figures = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    const number = expect.any(Number) as number
    expect(figures).toMatchObject({
      throughput_rps: number,
      steps_rps: number,
      steps_ratio: number,
      raw_sdk_rps: number,
      raw_ratio: number,
      added_latency_ms: { p50: number, p99: number },
      durable: true,
      node: process.version,
      cpus: number,
    })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

test('the routing bench writes its figures', () => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-test-'))
  const file = join(dir, 'routing.json')
  try {
    const args = ['run', 'bench', '--', 'routing', '--short', '--json', file]
    const run = spawnSync('npm', args, { cwd: root, encoding: 'utf8', timeout: 60_000 })
    expect(run.status, run.stderr).toBe(0)
    const figures = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    const number = expect.any(Number) as number
    const policy = { cost_usd: number, quality: number }
    expect(figures).toMatchObject({
      scores_per_s: number,
      score_p99_ms: number,
      dev: { macro_apgr_cv: number, pooled_apgr_cv: number, ece: number },
      cascade_gsm8k_calls_at_95: number,
      twin: { always_large: policy, router: policy, cascade: policy },
    })
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
