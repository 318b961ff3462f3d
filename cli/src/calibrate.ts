import { type TierName, tierNames } from '@sluice/contracts'
import { effectOf, type LabelledScore, proposeThresholds, scoreComplexity } from '@sluice/routing'
import { z } from 'zod'
import { readLines } from './read-lines.ts'
import { UsageError } from './usage-error.ts'

const lineSchema = z
  .looseObject({
    score: z.number().min(0).max(1).optional(),
    messages: z.array(z.unknown()).optional(),
    tier: z.enum(tierNames).optional(),
    ok: z.partialRecord(z.enum(tierNames), z.boolean()).optional(),
  })
  .refine(({ score, messages }) => score !== undefined || messages !== undefined, 'needs score or messages')
  .refine(({ tier, ok }) => tier !== undefined || ok !== undefined, 'needs tier or ok')
type Line = z.infer<typeof lineSchema>

/** Prints thresholds that serve a file's prompts well, what they cost, and how far to trust them. */
export async function calibrate(options: { in?: string; quality: string; prices: string }): Promise<void> {
  if (options.in === undefined) throw new UsageError('--in FILE.jsonl is missing.')
  const quality = Number(options.quality)
  if (!(quality > 0 && quality <= 1)) throw new UsageError('--quality is a share between 0 and 1.')
  const prices = pricesOf(options.prices)
  const labelled: LabelledScore[] = []
  let hopeless = 0
  for await (const line of readLines(options.in, lineSchema)) {
    const needed = neededTier(line)
    if (needed) labelled.push({ score: scoreOf(line), needed })
    else hopeless++
  }
  if (labelled.length === 0) throw new UsageError(`${options.in} has no prompt that any tier answers well.`)
  const thresholds = proposeThresholds(labelled, { quality, prices })
  const { served, cost, shares } = effectOf(thresholds, labelled, prices)
  const unseen = servedUnseen(labelled, quality, prices)
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
  process.stdout.write(`routing:
  thresholds: { medium: ${thresholds.medium}, large: ${thresholds.large} }

prompts           ${labelled.length}${hopeless > 0 ? ` (and ${hopeless} that no tier answers well, left out)` : ''}
to each tier      ${tierNames.map((tier) => `${tier} ${percent(shares[tier])}`).join(', ')}
served well       ${percent(served)} (of prompts that the thresholds were not chosen on: ${percent(unseen)})
cost              ${percent(cost)} of always using the large tier
`)
  if (labelled.length < 200) process.stderr.write(`${labelled.length} prompts are few: 200 or more make it reliable.\n`)
}

function pricesOf(text: string): Record<TierName, number> {
  const [small = Number.NaN, medium = Number.NaN, large = Number.NaN, ...more] = text.split(',').map(Number)
  if (more.length > 0 || ![small, medium, large].every((price) => price > 0)) {
    throw new UsageError('--prices are three positive numbers, for the small, the medium and the large tier: 1,5,25.')
  }
  return { small, medium, large }
}

const scoreOf = ({ score, ...body }: Line): number =>
  score ?? scoreComplexity({ model: 'auto', ...body }, '/v1/chat/completions').score

/** The lowest tier whose answer is good; undefined when none is, which no threshold can mend. */
function neededTier({ tier, ok }: Line): TierName | undefined {
  return tier ?? tierNames.find((name) => ok?.[name] === true)
}

/** What share is served well of every fifth prompt by thresholds chosen on the others, over all five fifths. */
function servedUnseen(labelled: readonly LabelledScore[], quality: number, prices: Record<TierName, number>): number {
  let served = 0
  for (let fifth = 0; fifth < 5; fifth++) {
    const own = labelled.filter((_, at) => at % 5 === fifth)
    const others = labelled.filter((_, at) => at % 5 !== fifth)
    if (own.length === 0 || others.length === 0) continue
    served += effectOf(proposeThresholds(others, { quality, prices }), own, prices).served * own.length
  }
  return served / labelled.length
}
