import type { Value } from '../json.ts'
import { arrayFunctions } from './array-functions.ts'
import { dateFunctions } from './date-functions.ts'
import { mathFunctions } from './math-functions.ts'
import { stringFunctions } from './string-functions.ts'
import { syntaxError } from './tokens.ts'
import { typeFunctions } from './type-functions.ts'

export interface BuiltIn {
  /** Least and greatest number of arguments. */
  arity: readonly [least: number, greatest: number]
  /** Arguments of the wrong type make the result undefined, never an error. */
  apply: (args: readonly Value[], nowMs: number) => Value
}

const builtIns: ReadonlyMap<string, BuiltIn> = new Map(
  Object.entries({ ...stringFunctions, ...mathFunctions, ...arrayFunctions, ...typeFunctions, ...dateFunctions }),
)

/** The function by its upper-case name; unknown names and wrong argument counts are a 400. */
export const callFunction = (name: string, count: number, at: number): BuiltIn['apply'] => {
  const builtIn = builtIns.get(name)
  if (builtIn === undefined)
    throw syntaxError(`'${name}' is not a recognized built-in function name.`, at, at + name.length, 'SC2005')
  const [least, greatest] = builtIn.arity
  if (count < least || count > greatest) {
    const wanted = least === greatest ? `${least}` : `${least} to ${greatest}`
    throw syntaxError(`The ${name} function requires ${wanted} argument(s).`, at, at + name.length, 'SC2050')
  }
  return builtIn.apply
}
