import type { DeliverTarget } from '@sluice/contracts'

// Eight easy, eight middling and eight hard prompts, so that every tier has work.
const prompts = [
  'What is the capital of Sweden?',
  'Say hello in French.',
  'How many days are in a leap year?',
  'Name three primary colours.',
  'Is water wet? Answer yes or no.',
  'Translate "good morning" to Spanish.',
  'What does HTTP stand for?',
  'Spell "sluice" backwards.',
  'Summarise in three bullet points why a queue in front of a rate-limited API helps, and name one drawback.',
  'Compare optimistic and pessimistic locking for an order table; say when you would choose which, with an example each.',
  'Write a SQL query that returns, per customer, the month with the highest revenue, and explain the window function.',
  'Explain step by step how a webhook receiver should verify a signature and reject replays.',
  'Rewrite this sentence for a legal audience and list what changed: "We keep your data as long as we need it."',
  'A train leaves at 9:40 and arrives at 13:05 with a 25 minute stop. How long did it move? Show your reasoning.',
  'Draft a polite e-mail that declines a meeting, proposes two alternatives and asks for the agenda beforehand.',
  'Extract the invoice number, the total and the due date as JSON from: "Invoice 2291, due 3 May, total EUR 1,204.50".',
  `Prove that the square root of 2 is irrational, then generalise the proof to every non-square integer n. State each lemma,
justify each step, and discuss where unique factorisation is used and whether it can be avoided.`,
  `Design a multi-region event-driven architecture for 40,000 requests a second with exactly-once effects. Analyse the
failure modes, derive the capacity per region, compare two consistency models, and justify the trade-offs step by step.`,
  `Given this function, find the race condition, prove that it can occur, and refactor it:
\`\`\`ts
async function withdraw(id: string, amount: number) {
  const row = await db.get(id); if (row.balance < amount) throw new Error('no')
  await db.put(id, { ...row, balance: row.balance - amount })
}
\`\`\`
Then write property-based tests, and explain why each invariant holds under concurrency.`,
  `Derive the closed form of the sum of k^2 * 2^k for k from 1 to n, prove it by induction, analyse its asymptotic growth,
and implement a verification in Python with arbitrary precision. Explain every algebraic step.`,
  `Analyse the contract clause below for ambiguity under two jurisdictions, enumerate every interpretation, evaluate the risks
step by step and propose a redraft: "The supplier shall indemnify the customer against all losses arising therefrom."`,
  `Implement a lock-free bounded queue in Rust, prove linearizability informally, analyse the memory orderings of each atomic
operation, compare it with a mutex-based version, and derive its worst-case behaviour under contention.`,
  `A hospital must schedule 120 nurses over 28 days with 14 constraints. Formulate the integer program, derive a relaxation,
design a heuristic step by step, analyse its complexity, and explain how you would prove a bound on its optimality gap.`,
  `Explain and derive backpropagation through time for an LSTM, with every partial derivative, analyse vanishing gradients
mathematically, and design an experiment that would distinguish two competing hypotheses about long-range memory.`,
]

/** The demo's 24 lines; `run` keeps the custom ids of several runs apart. */
export function demoLines(run: string, deliver: DeliverTarget[]): { custom_id: string; [field: string]: unknown }[] {
  return prompts.map((content, index) => ({
    custom_id: `demo-${run}-${String(index + 1).padStart(2, '0')}`,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model: 'auto', messages: [{ role: 'user', content }], max_tokens: 300 },
    sluice: { tenant: 'local', deliver },
  }))
}
