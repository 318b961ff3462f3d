import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { judgeAnswer } from '../libs/routing/src/confidence/judge-answer.ts'
import type { NumericModel } from '../libs/routing/src/confidence/numeric-confidence.ts'
import { numericFeatures, readNumericFeatures } from '../libs/routing/src/confidence/numeric-features.ts'
import { crossValidate, foldsBySubject } from './complexity/cross-validation.ts'
import { fitLogistic } from './complexity/logistic.ts'
import { readOutcomes } from './complexity/outcomes.ts'
import { seededRandom } from './complexity/seeded-random.ts'

// Trains what the cascade's judge knows of worked-out numbers and replays a cascade on GSM8K with it: the weak model
// answers every prompt, the judge reads prompt and answer, and the least trusted ones go to the strong model. Nothing that
// judges a row has seen it: the judge's weights come from the other folds, and the complexity score from a scorer that
// never saw GSM8K. The data have neither log probabilities nor second samples, so that the judge works without them.
// usage: npm run train:confidence [-- --data FILE]; the file lies beside the repository unless it is named

const generated = fileURLToPath(new URL('../libs/routing/src/generated/', import.meta.url))
const folds = 10
const seeds = [1, 2, 3, 4, 5, 6]
const ridge = 3
const wantedQuality = 0.95

const usual = fileURLToPath(new URL('../../shared/data/routing/dev.jsonl.gz', import.meta.url))
const { values } = parseArgs({ options: { data: { type: 'string', default: usual } } })
if (!existsSync(values.data)) {
  console.error('Name the file of routing outcomes: npm run train:confidence -- --data FILE')
  process.exit(1)
}
const content = readFileSync(values.data)
const outcomes = readOutcomes(content)
const { predictions } = crossValidate(outcomes, foldsBySubject(outcomes, folds, 1, []))

const rows = outcomes.flatMap(({ source, shape, weak, strong, weakAnswer }, at) => {
  if (source !== 'gsm8k' || weakAnswer === undefined) return []
  const score = predictions[at]?.score ?? 0
  return [
    {
      prompt: shape.task,
      answer: weakAnswer,
      score,
      weak,
      strong,
      features: readNumericFeatures(shape.task, weakAnswer, score),
    },
  ]
})
type Row = (typeof rows)[number]

const train = (some: readonly Row[]): NumericModel =>
  fitLogistic(
    some.map(({ features }) => features),
    some.map(({ weak }) => 1 - weak),
    ridge,
  )
const confidenceIn = ({ prompt, answer, score }: Row, model: NumericModel): number =>
  judgeAnswer(
    {
      url: '/v1/chat/completions',
      body: { model: 'auto', messages: [{ role: 'user', content: prompt }] },
      answer: { choices: [{ message: { content: answer }, finish_reason: 'stop' }] },
      score,
    },
    model,
  ).confidence

/** Shares of calls to the strong model from the least trusted answer on: those that reach the quality, and APGR. */
function replay(confidences: readonly number[]) {
  const order = rows
    .map((row, at) => ({ row, confidence: confidences[at] ?? 0 }))
    .toSorted((a, b) => a.confidence - b.confidence)
  const mean = (of: (row: Row) => number) => rows.reduce((sum, row) => sum + of(row), 0) / rows.length
  const [weak, strong] = [mean((row) => row.weak), mean((row) => row.strong)]
  let quality = weak
  let recovered = 0
  let calls: number | undefined
  for (const [at, { row }] of order.entries()) {
    recovered += (quality - weak) / (strong - weak) / rows.length
    quality += (row.strong - row.weak) / rows.length
    if (quality >= wantedQuality * strong) calls ??= (at + 1) / rows.length
  }
  return { calls: calls ?? 1, apgr: recovered }
}

const rounds = seeds.map((seed) => {
  const random = seededRandom(seed)
  const fold = rows.map(() => Math.floor(random() * folds))
  const models = Array.from({ length: folds }, (_, held) => train(rows.filter((_row, at) => fold[at] !== held)))
  const confidences = rows.map((row, at) => confidenceIn(row, models[fold[at] ?? 0] as NumericModel))
  return { ...replay(confidences), ece: calibrationError(confidences) }
})

function calibrationError(confidences: readonly number[]): number {
  const bins = Map.groupBy(rows.keys(), (at) => Math.min(9, Math.floor((confidences[at] ?? 0) * 10)))
  const gaps = [...bins.values()].map((members) =>
    Math.abs(members.reduce((sum, at) => sum + (confidences[at] ?? 0) - (rows[at]?.weak ?? 0), 0)),
  )
  return gaps.reduce((sum, gap) => sum + gap, 0) / rows.length
}

const model = train(rows)
const round = (value: number) => Math.round(value * 10_000) / 10_000
const average = (of: (figures: (typeof rounds)[number]) => number) =>
  round(rounds.reduce((sum, figures) => sum + of(figures), 0) / rounds.length)
const card = {
  notice:
    'Trained on GSM8K (MIT) with answers of Mixtral-8x7B-Instruct from the evaluation data of RouteLLM (https://github.com/lm-sys/RouteLLM, commit 0b64fda, Apache-2.0).',
  data_sha256: createHash('sha256').update(content).digest('hex'),
  rows: rows.length,
  folds,
  rounds: seeds.length,
  cascade_gsm8k_calls_at_95: average(({ calls }) => calls),
  calls_at_95_by_round: rounds.map(({ calls }) => round(calls)),
  apgr: average(({ apgr }) => apgr),
  ece: average(({ ece }) => ece),
}
const rounded = (numbers: readonly number[]) => numbers.map(round)
writeFileSync(
  `${generated}confidence-weights.json`,
  `${JSON.stringify(
    {
      notice: card.notice,
      features: numericFeatures,
      intercept: round(model.intercept),
      weights: rounded(model.weights),
      means: rounded(model.means),
      deviations: rounded(model.deviations),
    },
    null,
    1,
  )}\n`,
)
writeFileSync(`${generated}confidence-card.json`, `${JSON.stringify(card, null, 2)}\n`)
console.log(JSON.stringify(card, null, 2))
