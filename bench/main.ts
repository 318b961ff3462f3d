import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

const benches: Record<string, () => Promise<{ run: (options: BenchOptions) => Promise<object> }>> = {
  pipeline: () => import('./pipeline/run.ts'),
  emulators: () => import('./emulators/run.ts'),
  routing: () => import('./routing/run.ts'),
  webhooks: () => import('./webhooks/run.ts'),
  gateway: () => import('./gateway/run.ts'),
  admission: () => import('./admission/run.ts'),
  batch: () => import('./batch/run.ts'),
  'batch-upload': () => import('./batch-upload/run.ts'),
}

export interface BenchOptions {
  /** A run of seconds that only shows that the bench works. */
  short: boolean
  /** Emulators that write to disk. */
  durable: boolean
  /** How much work, where a bench has a number for it. */
  lines?: number
  /** How long load is offered, where a bench offers some; its own choice unless given. */
  seconds?: number
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    lines: { type: 'string' },
    short: { type: 'boolean', default: false },
    memory: { type: 'boolean', default: false },
    seconds: { type: 'string' },
  },
})
const bench = benches[positionals[0] ?? '']
if (bench === undefined) {
  console.error(
    `usage: npm run bench -- ${Object.keys(benches).join('|')} [--json FILE] [--short] [--memory] [--lines N] [--seconds N]`,
  )
  process.exit(1)
}
const { run } = await bench()
const lines = values.lines === undefined ? {} : { lines: Number(values.lines) }
const seconds = values.seconds === undefined ? {} : { seconds: Number(values.seconds) }
const figures = await run({ short: values.short, durable: !values.memory, ...lines, ...seconds })
const text = JSON.stringify(figures, null, 2)
console.log(text)
if (values.json !== undefined) writeFileSync(values.json, `${text}\n`)
process.exit(0)
