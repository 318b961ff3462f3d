import type { LineUrl, RequestBody } from '@sluice/contracts'
import { type PromptShape, readShape } from './prompt-shape.ts'

/** How hard a prompt looks: 0 for a greeting, 1 for the hardest; `why` lists what each signal added. */
export interface Complexity {
  score: number
  why: string
}

/** Scores a prompt from its text and shape alone, in one pass over at most 16,000 characters of the task. */
export function score(body: RequestBody, url: LineUrl): Complexity {
  return scoreShape(readShape(body, url))
}

/** {@link score} of a prompt that was already read. */
export function scoreShape(shape: PromptShape): Complexity {
  const task = clip(shape.task)
  const parts: string[] = []
  let sum = 0
  for (const [name, measure] of signals) {
    const added = measure(task, shape)
    if (Math.abs(added) < 0.005) continue
    sum += added
    parts.push(`${name} ${added > 0 ? '+' : '-'}${Math.abs(added).toFixed(2)}`)
  }
  const score = Math.round(Math.min(1, Math.max(0, sum)) * 1000) / 1000
  return { score, why: parts.length === 0 ? 'nothing that looks hard' : parts.join(', ') }
}

type Signal = (task: string, shape: PromptShape) => number

// Hand-set weights. They order prompts sensibly from the first day; the thresholds that turn a score into a tier are
// configuration, so that they can follow one's own traffic.
const signals: readonly (readonly [name: string, measure: Signal])[] = [
  ['length', (_task, { chars }) => 0.35 * saturate(Math.log2(1 + chars / 100), 7)],
  ['questions', (task) => 0.1 * saturate(count(task, questionMarks) - 1, 3)],
  ['reasoning', (task) => 0.45 * saturate(count(task, reasoningWords), 2.5)],
  ['steps', (task) => 0.2 * saturate(count(task, stepMarkers), 4)],
  ['constraints', (task) => 0.15 * saturate(count(task, constraintWords), 5)],
  ['math', (task) => 0.3 * saturate(count(task, mathWords) + count(task, formulas) + numbersBeyond(task, 3) / 2, 3)],
  ['code', (task) => 0.3 * saturate(count(task, codeMarks), 3)],
  ['turns', (_task, { userTurns }) => 0.1 * saturate(userTurns - 1, 6)],
  ['tools', (_task, { tools }) => (tools > 0 ? 0.1 + 0.1 * saturate(tools - 1, 8) : 0)],
  ['schema', (_task, { hasSchema }) => (hasSchema ? 0.08 : 0)],
  ['images', (_task, { images }) => 0.2 * saturate(images, 2)],
  ['effort', (_task, { effort }) => effortWeights[effort ?? ''] ?? 0],
  ['routine', (task) => -0.12 * saturate(count(task.slice(0, 200), routineWords), 1)],
]

const questionMarks = /[?？]/g
const reasoningWords =
  /\b(?:why|prove|proof|derive|deduce|analy[sz]e|evaluate|compare|contrast|critique|justify|argue|design|architect|optimi[sz]e|debug|refactor|diagnos\w*|plan|strategy|trade-?offs?|implications?|explain how|root cause|hypothes[ei]s)\b/gi
const stepMarkers =
  /\b(?:step[- ]by[- ]step|first|second(?:ly)?|then|next|finally|afterwards|for each)\b|^\s*(?:\d+[.)]|[-*])\s/gim
const constraintWords =
  /\b(?:must(?: not)?|exactly|at (?:least|most)|no more than|without|except|only if|unless|do not|don't|ensure|constraints?|requirements?|edge cases?)\b/gi
const mathWords =
  /\b(?:equations?|integrals?|derivatives?|probabilit(?:y|ies)|matri(?:x|ces)|theorem|lemma|modulo|polynomial|vectors?|variance|percent|how (?:much|many)|average|total)\b/gi
const formulas = /\\(?:frac|int|sum|sqrt|begin)|\d\s*[-+*/^=×÷]\s*\d|[=<>≤≥]\s*\d|\$\$/g
const codeMarks =
  /```|\b(?:function|class|def|const|async|import|SELECT|INSERT|CREATE TABLE|public static|lambda)\b[^\n({:;=]{0,40}[({:;=]|=>|\b(?:regex|stack trace|exception|algorithm|complexity|compile|API|SQL|unit tests?|TypeScript|JavaScript|Python|Rust|Kotlin|Java)\b|\{\s*$/gm
const routineWords =
  /\b(?:translate|rephrase|rewrite|spell|classify|extract|summari[sz]e|proofread|paraphrase|hello|hi|thanks|thank you)\b/gi
const effortWeights: Readonly<Record<string, number>> = {
  minimal: -0.1,
  low: -0.05,
  medium: 0.05,
  high: 0.2,
  xhigh: 0.3,
}

/** 0 at nothing, 1 at `full` and beyond. */
const saturate = (amount: number, full: number): number => Math.min(1, Math.max(0, amount / full))

function count(text: string, pattern: RegExp): number {
  pattern.lastIndex = 0
  let found = 0
  while (found < 16 && pattern.test(text)) found++
  return found
}

const numbers = /\d+(?:[.,]\d+)*/g
const numbersBeyond = (task: string, usual: number): number => Math.max(0, count(task, numbers) - usual)

// The instruction stands at a long prompt's beginning or end; what is between them is mostly material.
const clip = (text: string): string => (text.length <= 16_000 ? text : `${text.slice(0, 8_000)}\n${text.slice(-8_000)}`)
