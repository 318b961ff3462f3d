/** Groups of words that say something about the work a prompt asks for; a word may belong to several. */
export const wordGroups = [
  'reasoning',
  'maths',
  'code',
  'steps',
  'constraints',
  'routine',
  'negation',
  'comparison',
  'quantities',
  'conditions',
  'people',
  'function',
  'why',
  'making',
] as const
export type WordGroup = (typeof wordGroups)[number]

/** Continues a 32-bit FNV-1a hash; https://www.rfc-editor.org/rfc/rfc9923 */
export const hashStep = (hash: number, code: number): number => Math.imul(hash ^ code, 0x01000193)
export const hashStart = 0x811c9dc5 | 0

/** The hash under which the scan sees a word: lower case, without apostrophes. */
function hashWord(word: string): number {
  let hash = hashStart
  for (let at = 0; at < word.length; at++) hash = hashStep(hash, word.charCodeAt(at))
  return hash
}

const words: Readonly<Record<WordGroup, string>> = {
  reasoning: `analyse analyze analysis analyses compare contrast critique criticise deduce derive derivation design
    architect debug diagnose evaluate assess explain formulate generalise generalize hypothesis hypotheses hypothesize
    infer justify justification optimise optimize optimal plan propose prove proof proofs reason reasoning refute
    strategy tradeoff tradeoffs implication implications argue argument interpret interpretation conclude distinguish
    consequences consequence consistent contradiction invariant invariants heuristic conjecture`,
  maths: `equation equations integral integrals derivative derivatives probability probabilities matrix matrices theorem
    lemma modulo polynomial polynomials vector vectors variance algebra geometry triangle circle radius perimeter
    fraction fractions logarithm exponent factorial prime primes integer integers divisible remainder ratio
    proportional function functions finite field group ring isomorphic homomorphism converges series sequence limit sum
    product square root roots cube cubic quadratic linear graph slope induction asymptotic calculate compute solve
    simplify evaluate expression digits multiple multiples factor factors mean median standard deviation theta sine
    cosine degree degrees closed form`,
  code: `algorithm algorithms api array arrays async await boolean bug c class classes code compile compiler concurrency
    const csharp database def deadlock dictionary docker endpoint exception function git hash html http import
    implement implementation interface java javascript json kotlin lambda loop mutex null nullable parser pointer
    programming python query queue race recursion recursive refactor regex regexp return runtime rust schema select
    server sql stack string struct test tests thread threads tree tuple typescript unit variable void yaml`,
  steps: `first second secondly third then next finally afterwards lastly step steps stepwise stage phases each every
    enumerate list followed subsequently`,
  constraints: `must exactly least most without except only unless ensure constraint constraints require requirement
    requirements required edge cases limit maximum minimum within never always avoid should cannot under given
    specified respectively`,
  routine: `translate rephrase rewrite spell classify extract summarise summarize summary proofread paraphrase reformat
    hello hi hey thanks thank hallo hola bonjour morning`,
  negation: `not no except least never incorrect false none neither nor cannot without isnt doesnt dont wont wasnt arent
    least unlikely wrong`,
  comparison: `more less than most least greater fewer larger smaller higher lower better worse best same different between
    increase increases decrease decreases as both either versus`,
  quantities: `total half twice thrice double triple times each per percent percentage average altogether remaining left
    cost costs price dollars dollar cents cent euros pounds hours hour minutes minute seconds days day weeks week months
    month years year miles mile kilometers km meters feet inches gallons liters kg grams many much remaining spend spent
    sold buys bought earns earned pays paid rate speed distance sells`,
  conditions: `if suppose supposing assume assuming given let whether would could when unless provided because therefore
    hence thus since although however`,
  people: `i you he she his her him they them their my your we us our man woman plaintiff defendant buyer seller owner
    patient child mother father friend`,
  function: `the of and a to in is that it was for on are as with by at be this from or an which has have had but were
    been its all can will there what who when where how do does did following about into than other some these those
    out up so such after before over any new only also may one two three being between through because used most`,
  why: `why how explain describe discuss cause causes reason reasons`,
  making: `write draft compose create build develop produce generate implement design construct prepare outline propose
    redraft plan model simulate`,
}

/** Bits of {@link wordGroups} per word hash. */
export const groupsOfWord: ReadonlyMap<number, number> = index()

function index(): Map<number, number> {
  const bits = new Map<number, number>()
  for (const [place, group] of wordGroups.entries()) {
    for (const word of words[group].split(/\s+/)) {
      const hash = hashWord(word)
      bits.set(hash, (bits.get(hash) ?? 0) | (1 << place))
    }
  }
  return bits
}
