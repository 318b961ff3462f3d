/** A prompt and how hard the twin takes it to be. */
export interface BenchPrompt {
  content: string
  /** 0 to 1. */
  difficulty: number
}

const topics = [
  'invoices',
  'a parking garage',
  'weather stations',
  'a chess club',
  'hospital beds',
  'the tides',
  'ferry tickets',
  'a bakery',
  'train delays',
  'solar panels',
  'a library',
  'migrating birds',
]

// Kinds of request with the range of difficulties that each has. The ranges overlap: wording tells hard from easy only so
// far, in production as well as here.
const kinds: { range: readonly [number, number]; texts: readonly string[] }[] = [
  {
    range: [0.02, 0.45],
    texts: [
      'Good morning! One friendly sentence about {t}, please.',
      'Translate "we are closed for {t}" into Swedish.',
      'Give me a title for a page about {t}.',
      'Is this about {t}: "please call back"? yes or no',
      'Rewrite politely: "no more {t}".',
    ],
  },
  {
    range: [0.2, 0.75],
    texts: [
      'Summarise in three bullets what a newcomer must know about {t}, and say what you left out.',
      'Write a SQL query that returns, per month, the three best customers of a shop for {t}, and explain it.',
      'Compare two ways to keep track of {t} and recommend one for a team of five.',
      'Draft an e-mail to a supplier of {t} about a late delivery, with two options and a deadline.',
      'Explain how prices for {t} depend on demand, with a small example.',
    ],
  },
  {
    range: [0.4, 0.97],
    texts: [
      'Design a fault-tolerant service for {t}: components, consistency guarantees, failure modes, and prove that no event is lost when a node crashes between two writes.',
      'Derive a closed form for the expected waiting time in a queue for {t} with two priorities, prove it, and discuss when the assumptions break.',
      'Find the bug and rewrite this for {t}:\n```py\ndef f(xs, k):\n    return sorted(xs)[:k] if k else f(xs, len(xs))\n```\nThen analyse its complexity and write property tests.',
      'Given 17 sensors around {t}, formulate the placement as an integer program, prove a lower bound, and give an approximation algorithm with its ratio.',
      'Refactor a monolith for {t} into services step by step: migrations, back-out plans, contracts, and a proof that each step is reversible.',
    ],
  },
]

/** The same prompts for the same number, spread evenly over kinds; half easy, a third middling, the rest hard. */
export function benchPrompts(count: number): BenchPrompt[] {
  let state = 20_261_121
  const random = () => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647
  return Array.from({ length: count }, (_, index) => {
    const draw = random()
    const kind = kinds[draw < 0.5 ? 0 : draw < 0.82 ? 1 : 2] ?? { range: [0, 1] as const, texts: [''] }
    const [from, to] = kind.range
    const text = kind.texts[Math.floor(random() * kind.texts.length)] ?? ''
    const topic = topics[index % topics.length] ?? ''
    const difficulty = Math.round((from + (to - from) * random()) * 1000) / 1000
    return { content: `${text.replaceAll('{t}', topic)} (${index})`, difficulty }
  })
}
