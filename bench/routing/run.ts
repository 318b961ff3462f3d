import { readFileSync } from 'node:fs'
import type { RequestBody } from '@sluice/contracts'
import { scoreComplexity } from '@sluice/routing'
import { demoLines } from '../../stack/src/demo-lines.ts'
import type { BenchOptions } from '../main.ts'
import { compareOnTwin } from './against-twin.ts'

const generated = new URL('../../libs/routing/src/generated/', import.meta.url)
const cardOf = (name: string): unknown => JSON.parse(readFileSync(new URL(`${name}-card.json`, generated), 'utf8'))

/**
 * How fast complexity is scored: prompts of the demo a second, and the 99th percentile of one prompt of 8,000
 * characters. What the score and the cascade's judge are worth on the data was measured at training: `dev` and
 * `cascade_gsm8k_calls_at_95` repeat the cards that `npm run train:complexity` and `npm run train:confidence` wrote.
 * `twin` is measured here.
 */
export async function run({ short }: BenchOptions): Promise<object> {
  const rounds = short ? 1_000 : 20_000
  const prompts = demoLines('bench', []).map((line) => line.body as RequestBody)
  const long = bodyOf(longPrompt(8_000))
  timesOf(() => score(long), 500)
  const times = timesOf(() => score(long), rounds / 4).sort()
  const startedAt = performance.now()
  for (let round = 0; round < rounds; round++) score(prompts[round % prompts.length] ?? long)
  const elapsedMs = performance.now() - startedAt
  const { unseen_subjects } = cardOf('complexity') as ComplexityCard
  return {
    scores_per_s: Math.round((rounds / elapsedMs) * 1000),
    score_p50_ms: round3(times[Math.floor(times.length * 0.5)]),
    score_p99_ms: round3(times[Math.floor(times.length * 0.99)]),
    dev: {
      macro_apgr_cv: unseen_subjects.macro.apgr,
      pooled_apgr_cv: unseen_subjects.pooled.apgr,
      ece: unseen_subjects.ece,
    },
    cascade_gsm8k_calls_at_95: (cardOf('confidence') as ConfidenceCard).cascade_gsm8k_calls_at_95,
    twin: await compareOnTwin(short ? 60 : 1_500),
    node: process.version,
  }
}

interface ConfidenceCard {
  cascade_gsm8k_calls_at_95: number
}

interface ComplexityCard {
  unseen_subjects: { macro: { apgr: number }; pooled: { apgr: number }; ece: number }
}

const score = (body: RequestBody) => scoreComplexity(body, '/v1/chat/completions')
const bodyOf = (content: string): RequestBody => ({ model: 'auto', messages: [{ role: 'user', content }] })
const round3 = (value = Number.NaN): number => Math.round(value * 1000) / 1000

/** Words that do not repeat, numbers, options and punctuation: nothing that a scan could skip. */
function longPrompt(chars: number): string {
  let text = ''
  for (let n = 0; text.length < chars; n++)
    text += `Clause ${n} of part${n * 7919} holds, unless x^${n} = ${n * n}? (${n % 9}) `
  return text.slice(0, chars)
}

function timesOf(work: () => unknown, times: number): Float64Array {
  return Float64Array.from({ length: times }, () => {
    const startedAt = performance.now()
    work()
    return performance.now() - startedAt
  })
}
