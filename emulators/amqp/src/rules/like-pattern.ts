const anyOne = -1
const anyRun = -2

/**
 * Compiles a LIKE pattern: % is any run of characters, _ any single UTF-16 code unit (a .NET char), case-sensitive. Returns
 * undefined when the pattern ends in its escape character. Not a regular expression, because patterns come from outside and
 * %a%a%a%b backtracks exponentially in one; this keeps one restart point and is at worst quadratic.
 */
export function compileLikePattern(pattern: string, escape?: string): ((text: string) => boolean) | undefined {
  const steps: number[] = []
  for (let index = 0; index < pattern.length; index++) {
    const character = pattern[index]
    if (character === escape) {
      if (++index === pattern.length) return undefined
      steps.push(pattern.charCodeAt(index))
    } else if (character === '%') {
      if (steps.at(-1) !== anyRun) steps.push(anyRun)
    } else {
      steps.push(character === '_' ? anyOne : pattern.charCodeAt(index))
    }
  }
  return (text) => matches(steps, text)
}

function matches(steps: readonly number[], text: string): boolean {
  let step = 0
  let at = 0
  let restartStep = -1
  let restartAt = 0
  while (at < text.length) {
    const expected = steps[step]
    if (expected === anyRun) {
      restartStep = ++step
      restartAt = at
    } else if (expected === anyOne || expected === text.charCodeAt(at)) {
      step++
      at++
    } else if (restartStep !== -1) {
      step = restartStep
      at = ++restartAt
    } else {
      return false
    }
  }
  while (steps[step] === anyRun) step++
  return step === steps.length
}
