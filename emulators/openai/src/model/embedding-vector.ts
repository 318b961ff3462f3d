import { hashText } from './seeded-draw.ts'

const commonWords = new Set(
  'a about after all also an and any are as at be been but by can could do does for from had has have how i if in into is it its just me my no not of on or our please so some than that the their them then there these they this to was we were what when where which who why will with would you your'.split(
    ' ',
  ),
)

const slotsPerFeature = 24

/** Adds a feature to the vector: the same few slots and signs for the same feature, whatever the text. */
function addFeature(vector: Float32Array, feature: string, weight: number): void {
  let state = hashText(feature)
  for (let slot = 0; slot < slotsPerFeature; slot++) {
    state = (Math.imul(state | 0, 0x2545f491) + 0x9e3779b9) >>> 0
    const index = (state >>> 1) % vector.length
    vector[index] = (vector[index] ?? 0) + ((state & 1) === 0 ? weight : -weight)
  }
}

/** Resetting, resets and reset share a stem; the rules are few because the letter triples soften what they miss. */
function stemOf(word: string): string {
  const cut = word.length > 4 ? word.replace(/(ing|edly|ed|ly|es|s|e)$/, '') : word
  return /([^aeiou])\1$/.test(cut) ? cut.slice(0, -1) : cut
}

/**
 * A unit vector for a text by feature hashing: words, neighbouring words and letter triples, so that texts that share
 * wording, or only word stems, are near, and unrelated texts are almost orthogonal. Word order matters a little.
 */
export function embeddingVector(text: string, dimensions: number): Float32Array {
  const vector = new Float32Array(dimensions)
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
  const counts = new Map<string, number>()
  const count = (feature: string): void => void counts.set(feature, (counts.get(feature) ?? 0) + 1)
  let previous = ''
  for (const word of words) {
    count(`w ${word}`)
    if (previous !== '') count(`b ${previous} ${word}`)
    if (!commonWords.has(word)) {
      count(`s ${stemOf(word)}`)
      const padded = `^${word}$`
      for (let at = 0; at + 3 <= padded.length; at++) count(`t ${padded.slice(at, at + 3)}`)
    }
    previous = word
  }
  for (const [feature, times] of counts) {
    const kind = feature[0]
    const weight =
      kind === 'w' ? (commonWords.has(feature.slice(2)) ? 0.15 : 0.6) : kind === 's' ? 0.9 : kind === 'b' ? 0.35 : 0.3
    addFeature(vector, feature, weight * Math.sqrt(times))
  }
  let norm = Math.hypot(...vector)
  if (norm === 0) {
    // Punctuation or an empty text still has a direction, its own.
    addFeature(vector, `? ${text}`, 1)
    norm = Math.hypot(...vector)
  }
  if (norm === 0) vector[0] = norm = 1
  for (let index = 0; index < dimensions; index++) vector[index] = (vector[index] ?? 0) / norm
  return vector
}
