import type { Deployment, RequestBody } from '@sluice/contracts'
import { agree, judgeAnswer, viewAnswer } from '@sluice/routing'
import type { Plan, Reached, Run } from './failover.ts'
import type { Answered } from './journal.ts'

/** What a cascade came to. */
export type Climbed =
  | { kind: 'answered'; answered: Answered; escalated: boolean }
  | Exclude<Reached, { kind: 'answered' }>

export interface Climb {
  run: Run
  /** Tiers, cheapest first; at least two. */
  steps: readonly (readonly Deployment[])[]
  score: number
  /** Below it an answer goes to the next tier. */
  confidence: number
  /** Ask a second time where an answer is just below it. */
  agreement: boolean
  /** The deployments of a step that what is left of the request's `max_cost_usd` pays for. */
  affordable: (step: readonly Deployment[]) => readonly Deployment[]
  bodyFor: (deployment: Deployment) => RequestBody
  /** Reserves and calls within one step's deployments. */
  reach: (plan: Plan) => Promise<Reached>
  paid: (reached: Extract<Reached, { kind: 'answered' }>) => Answered
}

// An answer that cannot be right is below this; how far below `confidence` a second sample may still settle it.
const hopeless = 0.2
const nearlyEnough = 0.25

/**
 * Asks tiers one after the other until an answer is trusted; the highest tier's is taken as it comes. A tier that cannot
 * answer now is passed over, and where none above can, the best answer so far stands: it has been paid for.
 */
export async function climb({ run, steps, score, confidence, agreement, ...by }: Climb): Promise<Climbed> {
  const { input, journal } = run
  let best: { answered: Answered; confidence: number } | undefined
  let answers = 0
  let last: Exclude<Reached, { kind: 'answered' }> | undefined

  for (const [at, step] of steps.entries()) {
    const highest = at === steps.length - 1
    const candidates = by.affordable(step)
    if (candidates.length === 0) continue
    const plan = { candidates, fallbacks: [], streamed: false }
    const ask = () => by.reach({ ...plan, bodyFor: (one) => withLogprobs(by.bodyFor(one), one, input.url, highest) })
    const reached = await ask()
    if (reached.kind !== 'answered') {
      // Whichever tier has room first may answer later.
      last = last?.kind === 'later' && reached.kind === 'later' && last.afterMs < reached.afterMs ? last : reached
      if (reached.kind === 'failed' && isFinal(reached.error, input.body)) break
      continue
    }
    const answered = by.paid(reached)
    answers++
    if (highest) return { kind: 'answered', answered: plain(answered, input.body), escalated: answers > 1 }
    let judgement = judgeAnswer({ url: input.url, body: input.body, answer: answered.answer.body, score })
    const uncertain = judgement.confidence < confidence && judgement.confidence >= confidence - nearlyEnough
    if (agreement && uncertain && judgement.confidence > hopeless) {
      const again = await ask()
      if (again.kind === 'answered') {
        const second = by.paid(again)
        if (agree(textOf(answered, run), textOf(second, run))) judgement = { confidence, why: 'two samples that agree' }
      }
    }
    journal.judged(judgement.confidence)
    if (judgement.confidence >= confidence) {
      journal.remark(`${answered.deployment.tier} answered with confidence ${judgement.confidence} (${judgement.why})`)
      return { kind: 'answered', answered: plain(answered, input.body), escalated: answers > 1 }
    }
    journal.remark(`not enough confidence in ${answered.deployment.tier}: ${judgement.confidence} (${judgement.why})`)
    if (best === undefined || judgement.confidence >= best.confidence) {
      best = { answered, confidence: judgement.confidence }
    }
  }
  if (best !== undefined) {
    journal.remark('no higher tier could answer')
    return { kind: 'answered', answered: plain(best.answered, input.body), escalated: false }
  }
  return last ?? { kind: 'later', afterMs: 1_000, reason: 'full' }
}

const textOf = ({ answer }: Answered, { input }: Run): string => viewAnswer(answer.body, input.url).text

/** The judge reads log probabilities where it can have them; only chat completions give them for the asking. */
function withLogprobs(body: RequestBody, deployment: Deployment, url: string, highest: boolean): RequestBody {
  const wanted = !highest && url === '/v1/chat/completions' && body.logprobs === undefined
  return wanted && deployment.capabilities.includes('logprobs') ? { ...body, logprobs: true } : body
}

/** The answer without the log probabilities that only the judge asked for; as it was sent where it has none. */
function plain(answered: Answered, asked: RequestBody): Answered {
  const { text: _, ...answer } = answered.answer
  const { choices } = answer.body as { choices?: unknown }
  if (asked.logprobs === true || !Array.isArray(choices)) return answered
  if (choices.every((choice: { logprobs?: unknown } | null) => (choice?.logprobs ?? null) === null)) return answered
  const without = choices.map((choice: unknown) => ({ ...(choice as object), logprobs: null }))
  return { ...answered, answer: { ...answer, body: { ...(answer.body as object), choices: without } } }
}

/** Whether the next tier would say the same. A field that only the judge added is not the caller's fault. */
function isFinal(
  { code, disposition, param }: { code: string; disposition: string; param: string | undefined },
  asked: RequestBody,
): boolean {
  if (disposition === 'fail_over' || code === 'context_length_exceeded') return false
  return !(asked.logprobs === undefined && /^body\.(top_)?logprobs/.test(param ?? ''))
}
