import type { Prediction } from './cross-validation.ts'
import { calibrationError, type Curve, reportOf } from './metrics.ts'
import { failsTarget, gainsTarget } from './outcomes.ts'

export interface SourceFigures extends Curve {
  rows: number
  /** Expected calibration errors of the two heads. */
  ece_fails: number
  ece_gains: number
}

export interface Figures {
  macro: Curve
  pooled: Curve
  ece: number
  sources: Record<string, SourceFigures>
}

export interface Card {
  notice: string
  data: { sha256: string; rows: number; subjects: number; models: string[] }
  folds: number
  rounds: number
  /** Whole subjects held out, GSM8K among them as one subject: prompts of a kind that training never saw. */
  unseen_subjects: Figures
  /** The same with GSM8K dealt out over all folds: the kind is known, the prompts are not. */
  known_kinds: Figures
  weights_bytes: number
}

/** The figures of one cross-validation. */
export function figuresOf(predictions: readonly Prediction[]): Figures {
  const { sources, macro, pooled } = reportOf(
    predictions.map(({ outcome, score }) => ({ ...outcome, score, weight: 1 })),
  )
  const fails = (own: readonly Prediction[]): number =>
    calibrationError(own.map((one) => ({ predicted: one.fails, observed: failsTarget(one.outcome) })))
  const gains = (own: readonly Prediction[]): number =>
    calibrationError(own.map((one) => ({ predicted: one.gains, observed: gainsTarget(one.outcome) })))
  const withErrors = Object.entries(sources).map(([source, figures]): [string, SourceFigures] => {
    const own = predictions.filter(({ outcome }) => outcome.source === source)
    return [source, { ...figures, ece_fails: fails(own), ece_gains: gains(own) }]
  })
  return { macro, pooled, ece: fails(predictions), sources: Object.fromEntries(withErrors) }
}

/** The mean of several rounds' figures, number by number, to four decimals. */
export function meanOf<T extends object>(rounds: readonly T[]): T {
  const mean = Object.keys(rounds[0] ?? {}).map((key): [string, unknown] => {
    const values = rounds.map((round) => (round as Record<string, unknown>)[key])
    if (typeof values[0] === 'object') return [key, meanOf(values as object[])]
    const sum = (values as number[]).reduce((total, value) => total + value, 0)
    return [key, Math.round((sum / values.length) * 10_000) / 10_000]
  })
  return Object.fromEntries(mean) as T
}

/** The card as a page for docs. */
export function cardPage(card: Card): string {
  const { data, unseen_subjects, known_kinds } = card
  return `# Complexity scorer: metrics card

Written by \`npm run train:complexity\`; do not edit. The same figures as JSON:
[complexity-card.json](../libs/routing/src/generated/complexity-card.json). What the score is, and how to set thresholds
for your own traffic: [routing](guides/routing.md).

- Data: ${data.rows} prompts of ${data.subjects} subjects, answered by ${data.models.join(' (weak) and ')} (strong); sha256 \`${data.sha256}\`.
- Validation: ${card.folds} folds that hold out whole subjects, mean over ${card.rounds} assignments of subjects to folds. The final score
  was measured, conversation shape included, not the heads alone.
- Size of the weights: ${Math.ceil(card.weights_bytes / 1024)} KiB.

APGR is the share of the quality gap between the two models that is recovered, averaged over all shares of calls to the
strong one: 0.5 is random, about 1 is knowing the weak model's mistakes in advance. CPT50 and CPT80 are the shares of
strong calls that recover 50 and 80 % of the gap. Calibration error (ECE): how far predicted and observed probability
are apart, over ten bins. A difference under 0.02 in APGR is noise. Features, penalties and the mixture of the heads were
chosen with these same folds in view, so expect a little less elsewhere.

## Unseen subjects

GSM8K counts as one subject: when it is predicted, no prompt of its kind was in training. The macro row is the mean over
sources with at least 200 rows; pooled is one threshold for everything, with every source weighing the same (so that
${unseen_subjects.sources.mt_bench?.rows ?? 0} prompts of MT-bench are a third of it).

${table(unseen_subjects)}

## Known kinds

The same, with GSM8K dealt out over the folds.

${table(known_kinds)}

## What it is not

Most of these prompts are multiple-choice questions of exams, each in one turn. The heads estimate how a model of
Mixtral's class does on such a question; for chat, tools and long conversations the score adds weights that were set by
hand, and nothing here measures them. In one subject (high school mathematics) the strong model's answers were misread by
the evaluation, so that it is right in 2 % of them; it is left out of training the second head, and stays in the figures.

## Notice

${card.notice}
`
}

function table({ macro, pooled, sources, ece }: Figures): string {
  const figure = (value: number | undefined): string => (value === undefined ? '' : value.toFixed(3))
  const row = (name: string, own: Partial<SourceFigures>): string =>
    `| ${[name, own.rows ?? '', ...[own.apgr, own.cpt50, own.cpt80, own.ece_fails, own.ece_gains].map(figure)].join(' | ')} |`
  return [
    '| source | rows | APGR | CPT50 | CPT80 | ECE weak fails | ECE strong helps |',
    '|---|---|---|---|---|---|---|',
    ...Object.entries(sources).map(([name, own]) => row(name, own)),
    row('macro', macro),
    row('pooled', { ...pooled, ece_fails: ece }),
  ].join('\n')
}
