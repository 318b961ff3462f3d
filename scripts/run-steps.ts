import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
const resultsDir = `${root}.local/test`

export interface Step {
  name: string
  /** A program of node_modules/.bin and its arguments. */
  command: string[]
  /** A vitest run, whose tests are counted one by one; any other step counts as one. */
  tests?: boolean
}

interface Tally {
  passed: number
  failed: number
}

const bin = (name: string) => `${root}node_modules/.bin/${name}`

/** Format, lint, types and dead code: what can be said without running anything. */
export const staticSteps: Step[] = [
  { name: 'format', command: [bin('oxfmt'), '--check', '.'] },
  { name: 'lint', command: [bin('oxlint'), '--type-aware', '--max-warnings=0'] },
  { name: 'types', command: [bin('tsc'), '--noEmit'] },
  { name: 'dead code', command: [bin('knip'), '--no-progress'] },
]

/** @param workers test files at a time: most of what needs processes waits for them rather than for a core */
export const vitestStep = (project: string, workers: number): Step => ({
  name: project,
  command: [
    ...[bin('vitest'), 'run', '--project', project, '--reporter=default', '--reporter=json'],
    `--maxWorkers=${workers}`,
    `--outputFile.json=${resultsDir}/${project}.json`,
  ],
  tests: true,
})

/** Runs the steps one after the other, whatever the outcome of those before, and says how many checks held. */
export async function runSteps(steps: Step[]): Promise<Tally> {
  mkdirSync(resultsDir, { recursive: true })
  const total: Tally = { passed: 0, failed: 0 }
  const failures: string[] = []
  for (const step of steps) {
    console.log(`\n── ${step.name}`)
    const report = `${resultsDir}/${step.name}.json`
    if (step.tests === true) rmSync(report, { force: true })
    const startedAt = Date.now()
    const code = await run(step.command)
    const tally =
      step.tests === true ? counted(report, code) : { passed: Number(code === 0), failed: Number(code !== 0) }
    total.passed += tally.passed
    total.failed += tally.failed
    if (tally.failed > 0) failures.push(step.name)
    console.log(
      `── ${step.name}: ${tally.failed === 0 ? 'ok' : 'FAILED'} (${Math.round((Date.now() - startedAt) / 1000)} s)`,
    )
  }
  if (failures.length > 0) console.log(`\nfailed: ${failures.join(', ')}`)
  console.log(`\n${total.passed} passed, ${total.failed} failed`)
  return total
}

function run([command = '', ...args]: string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
    child.on('error', () => resolve(1))
    child.on('exit', (code) => resolve(code ?? 1))
  })
}

// A run that failed without a failed test (a file that could not be loaded, no tests at all) counts as one failure.
function counted(report: string, code: number): Tally {
  if (!existsSync(report)) return { passed: 0, failed: 1 }
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8')) as {
    numPassedTests: number
    numFailedTests: number
  }
  return { passed: numPassedTests, failed: code === 0 ? numFailedTests : Math.max(1, numFailedTests) }
}
