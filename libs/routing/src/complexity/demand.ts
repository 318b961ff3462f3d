import type { PromptShape } from '../prompt-shape.ts'
import { type WordGroup, wordGroups } from './lexicon.ts'
import { scanText } from './scan-text.ts'
import type { TextCounts } from './text-counts.ts'

/** Something that raises or lowers a score, in log-odds, and the words to explain it with. */
export interface Push {
  phrase: string
  amount: number
}

/** 0 at nothing, 1 at `full` and beyond. */
const saturate = (amount: number, full: number): number => Math.min(1, Math.max(0, amount / full))
const groupOf = (counts: TextCounts, name: WordGroup): number => counts.groups[wordGroups.indexOf(name)] ?? 0

// The training data are exam questions in one user turn. They know neither tools nor follow-ups, and hardly a prompt
// that asks to design, prove or build something. These weights are set by hand, small enough to leave the order of exam
// questions to the trained heads, and spread chat traffic around them.
const measures: readonly (readonly [phrase: string, measure: (c: TextCounts, shape: PromptShape) => number])[] = [
  ['reasoning', (c) => 1.2 * saturate(groupOf(c, 'reasoning'), 6)],
  ['something to build', (c) => 0.6 * saturate(groupOf(c, 'making'), 3)],
  ['code', (c) => 0.7 * saturate(c.codeMarks + groupOf(c, 'code') / 2, 6)],
  ['maths', (c) => 0.4 * saturate(groupOf(c, 'maths') + c.mathsMarks + c.operators / 2, 8)],
  ['several steps', (c) => 0.4 * saturate(groupOf(c, 'steps') + c.listLines, 5)],
  [
    'routine task',
    (c, { task }) => (opensWithRoutine(task) ? -0.5 - 0.9 * saturate(Math.log2(1 + c.chars / 500), 4) : 0),
  ],
  ['earlier turns', (_, shape) => 0.4 * saturate(shape.userTurns - 1, 6)],
  ['tools', (_, { tools }) => (tools > 0 ? 0.5 + 0.5 * saturate(tools - 1, 8) : 0)],
  ['a schema to follow', (_, { hasSchema }) => (hasSchema ? 0.4 : 0)],
  ['images', (_, { images }) => 0.9 * saturate(images, 2)],
  ['the effort asked for', (_, { effort }) => effortWeights[effort ?? ''] ?? 0],
]

// Material to translate or to sum up is long without being hard, so a routine task takes back part of what length added.
const opensWithRoutine = (task: string): boolean => groupOf(scanText(task.slice(0, 60)), 'routine') > 0

const effortWeights: Readonly<Record<string, number>> = { minimal: -0.6, low: -0.3, medium: 0.2, high: 0.9, xhigh: 1.4 }

/** What the task's wording and the conversation's shape add to what was learned from exam questions. */
export function demandOf(counts: TextCounts, shape: PromptShape): Push[] {
  return measures.map(([phrase, measure]) => ({ phrase, amount: measure(counts, shape) }))
}

/** `sum` and all of {@link demandOf}, in its order. */
export function plusDemand(sum: number, counts: TextCounts, shape: PromptShape): number {
  let total = sum
  for (const [, measure] of measures) total += measure(counts, shape)
  return total
}
