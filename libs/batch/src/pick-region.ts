/**
 * One of the candidates at random, weighted by its headroom, among those that have room for `tokens`. Random, so that
 * workers which see the same numbers do not all choose the same region.
 * @param random from 0 to 1
 */
export function pickByHeadroom<C>(
  candidates: readonly C[],
  headroomOf: (candidate: C) => number,
  tokens: number,
  random: () => number = Math.random,
): C | undefined {
  const roomy = candidates.filter((candidate) => headroomOf(candidate) >= tokens)
  const total = roomy.reduce((sum, candidate) => sum + headroomOf(candidate), 0)
  let at = random() * total
  for (const candidate of roomy) {
    at -= headroomOf(candidate)
    if (at < 0) return candidate
  }
  return roomy.at(-1)
}
