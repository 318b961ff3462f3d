import { Draws, hashText } from './seeded-draw.ts'

/**
 * The chance that a model of ability a answers a prompt of difficulty d correctly: the Rasch model with both on a
 * probability scale, so P(a, 0.5) = a, P(1, d) = 1, P(0, d) = 0; it rises with a and falls with d.
 */
function chanceRight(ability: number, difficulty: number): number {
  const rightWeight = ability * (1 - difficulty)
  const wrongWeight = (1 - ability) * difficulty
  return rightWeight + wrongWeight === 0 ? ability : rightWeight / (rightWeight + wrongWeight)
}

/** A prompt's difficulty when no marker states it: uniform over prompts. */
const drawDifficulty = (promptHash: number): number => new Draws(promptHash ^ 0x0d1ff1c).next()

export interface Verdict {
  right: boolean
  difficulty: number
}

/**
 * Decides whether a model is right. Four prompts in five draw the same luck for every model, so a stronger model is
 * mostly right where a weaker one is; the fifth draws its own, so that weak models sometimes win, as real ones do.
 */
export function judge(promptHash: number, model: string, ability: number, choice: number, stated?: number): Verdict {
  const difficulty = stated ?? drawDifficulty(promptHash)
  const own = new Draws(promptHash ^ hashText(`${model}#${choice}`))
  const luck = own.next() < 0.8 ? new Draws(promptHash ^ 0x10c4).next() : own.next()
  return { right: luck < chanceRight(ability, difficulty), difficulty }
}
