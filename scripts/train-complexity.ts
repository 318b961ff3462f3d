import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { packModel } from '../libs/routing/src/complexity/packed-model.ts'
import { type Card, cardPage, figuresOf, meanOf } from './complexity/card.ts'
import { calibrated, crossValidate, foldsBySubject, trainHeads } from './complexity/cross-validation.ts'
import { readOutcomes } from './complexity/outcomes.ts'

// Trains the complexity scorer and writes its weights, the metrics card and the card's page. Seeded: the same data give
// the same bytes.
// usage: npm run train:complexity [-- --data FILE]; the file lies beside the repository unless it is named

const root = fileURLToPath(new URL('../', import.meta.url))
const generated = `${root}libs/routing/src/generated/`
const notice = `Trained on the evaluation data of RouteLLM (https://github.com/lm-sys/RouteLLM, commit 0b64fda, Apache-2.0), without its
contaminated and duplicate prompts. The underlying sets: MMLU (MIT), GSM8K (MIT), MT-bench (Apache-2.0).`
const folds = 10
const seeds = [1, 2, 3]

const usual = fileURLToPath(new URL('../../shared/data/routing/dev.jsonl.gz', import.meta.url))
const { values } = parseArgs({ options: { data: { type: 'string', default: usual } } })
if (!existsSync(values.data)) {
  console.error('Name the file of routing outcomes: npm run train:complexity -- --data FILE')
  process.exit(1)
}
const content = readFileSync(values.data)
const outcomes = readOutcomes(content)

const unseen = seeds.map((seed) => {
  const { raw, predictions } = crossValidate(outcomes, foldsBySubject(outcomes, folds, seed, []))
  const figures = figuresOf(predictions)
  console.log(
    `unseen subjects, assignment ${seed}: macro ${figures.macro.apgr.toFixed(3)}, pooled ${figures.pooled.apgr.toFixed(3)}`,
  )
  return { raw, figures }
})
const known = crossValidate(outcomes, foldsBySubject(outcomes, folds, 1, ['gsm8k']))

// Predictions for prompts of known kinds: what calibration meets in use, where the model was trained on all of them.
const model = calibrated(trainHeads(outcomes), outcomes, known.raw)
const weights = `${JSON.stringify(packModel(model, notice), null, 1)}\n`
const card: Card = {
  notice,
  data: {
    sha256: createHash('sha256').update(content).digest('hex'),
    rows: outcomes.length,
    subjects: new Set(outcomes.map(({ subject }) => subject)).size,
    models: ['Mixtral-8x7B-Instruct', 'gpt-4-1106-preview'],
  },
  folds,
  rounds: seeds.length,
  unseen_subjects: meanOf(unseen.map(({ figures }) => figures)),
  known_kinds: meanOf([figuresOf(known.predictions)]),
  weights_bytes: Buffer.byteLength(weights),
}
mkdirSync(generated, { recursive: true })
writeFileSync(`${generated}complexity-weights.json`, weights)
writeFileSync(`${generated}complexity-card.json`, `${JSON.stringify(card, null, 2)}\n`)
writeFileSync(`${root}docs/complexity-card.md`, cardPage(card))
const { macro, pooled } = card.unseen_subjects
console.log(
  `wrote ${Math.ceil(card.weights_bytes / 1024)} KiB of weights; unseen subjects: macro ${macro.apgr}, pooled ${pooled.apgr}`,
)
