import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

const benches: Record<string, () => Promise<{ run: (options: BenchOptions) => Promise<object> }>> = {
  pipeline: () => import('./pipeline/run.ts'),
  emulators: () => import('./emulators/run.ts'),
  routing: () => import('./routing/run.ts'),
}

export interface BenchOptions {
  /** A run of seconds that only shows that the bench works. */
  short: boolean
  /** Emulators that write to disk. */
  durable: boolean
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    short: { type: 'boolean', default: false },
    memory: { type: 'boolean', default: false },
  },
})
const bench = benches[positionals[0] ?? '']
if (bench === undefined) {
  console.error(`usage: npm run bench -- ${Object.keys(benches).join('|')} [--json FILE] [--short] [--memory]`)
  process.exit(1)
}
const { run } = await bench()
const figures = await run({ short: values.short, durable: !values.memory })
const text = JSON.stringify(figures, null, 2)
console.log(text)
if (values.json !== undefined) writeFileSync(values.json, `${text}\n`)
process.exit(0)
