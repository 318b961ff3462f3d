import { RuleEvaluationError } from './rule-errors.ts'
import type { Arithmetic, Comparison } from './syntax-tree.ts'

/** Three-valued logic: undefined is unknown. A filter selects only what is true. */
export type Truth = boolean | undefined

const isNumber = (value: unknown): value is number | bigint => typeof value === 'number' || typeof value === 'bigint'
const isInteger = (value: number | bigint): boolean => typeof value === 'bigint' || Number.isInteger(value)

/**
 * The sign of left minus right, NaN when the two are comparable but unordered (booleans, NaN), undefined when the comparison is
 * unknown: an operand is missing or null, or their types have no implicit conversion ('5' and 5; the service does not match then).
 */
function order(left: unknown, right: unknown): number | undefined {
  if (isNumber(left) && isNumber(right)) {
    if (left < right) return -1
    return left > right ? 1 : left == right ? 0 : Number.NaN // oxlint-disable-line eslint/eqeqeq -- 1n equals 1 only loosely
  }
  if (typeof left === 'string' && typeof right === 'string') return left < right ? -1 : left > right ? 1 : 0
  if (typeof left === 'boolean' && typeof right === 'boolean') return left === right ? 0 : Number.NaN
  if (left instanceof Date && right instanceof Date) return left.getTime() - right.getTime()
  return undefined
}

const verdicts: Readonly<Record<Comparison, (sign: number) => boolean>> = {
  '=': (sign) => sign === 0,
  '<>': (sign) => sign !== 0,
  '>': (sign) => sign > 0,
  '>=': (sign) => sign >= 0,
  '<': (sign) => sign < 0,
  '<=': (sign) => sign <= 0,
}

/** The comparison as a function of two AMQP values; strings compare by code unit, case-sensitively. */
export function comparisonOf(operator: Comparison): (left: unknown, right: unknown) => Truth {
  const verdict = verdicts[operator]
  return (left, right) => {
    const sign = order(left, right)
    return sign === undefined ? undefined : verdict(sign)
  }
}

export const isEqual = comparisonOf('=')

const fromInt64 = (value: bigint): number | bigint => {
  const wrapped = BigInt.asIntN(64, value)
  const narrowed = Number(wrapped)
  return Number.isSafeInteger(narrowed) ? narrowed : wrapped
}

const integerOperations: Readonly<Record<Arithmetic, (left: bigint, right: bigint) => bigint>> = {
  '+': (left, right) => left + right,
  '-': (left, right) => left - right,
  '*': (left, right) => left * right,
  '/': (left, right) => left / refuseZero(right),
  '%': (left, right) => left % refuseZero(right),
}

const doubleOperations: Readonly<Record<Arithmetic, (left: number, right: number) => number>> = {
  '+': (left, right) => left + right,
  '-': (left, right) => left - right,
  '*': (left, right) => left * right,
  '/': (left, right) => left / right,
  '%': (left, right) => left % right,
}

function refuseZero(divisor: bigint): bigint {
  if (divisor === 0n) throw new RuleEvaluationError('attempted to divide an integer by zero')
  return divisor
}

function integerArithmetic(operator: Arithmetic, left: number | bigint, right: number | bigint): number | bigint {
  if (typeof left === 'number' && typeof right === 'number' && right !== 0) {
    const result = doubleOperations[operator](left, right)
    const whole = operator === '/' ? Math.trunc(result) : result
    // Adding 0 turns the negative zero of a double into the integer's only zero.
    if (Number.isSafeInteger(whole)) return whole + 0
  }
  return fromInt64(integerOperations[operator](BigInt(left), BigInt(right)))
}

/**
 * One arithmetic operation with C#'s promotions: Int64 with wrap-around and truncating division unless a side is a double, and
 * string concatenation. Unknown (undefined) when an operand is missing, null or of no numeric type. A JavaScript number that
 * arrived whole counts as an integer, since every SDK for JavaScript sends whole numbers as AMQP integers; `isDouble` says that
 * the expression itself made the operation one on doubles.
 */
export function arithmetic(operator: Arithmetic, left: unknown, right: unknown, isDouble: boolean): unknown {
  if (isNumber(left) && isNumber(right)) {
    if (isDouble || !isInteger(left) || !isInteger(right))
      return doubleOperations[operator](Number(left), Number(right))
    return integerArithmetic(operator, left, right)
  }
  if (operator === '+' && typeof left === 'string' && typeof right === 'string') return left + right
  return undefined
}

export function negate(value: unknown): unknown {
  if (typeof value === 'bigint') return fromInt64(-value)
  // 0 - 0 is 0 where -0 would be a double's negative zero.
  return typeof value === 'number' ? 0 - value : undefined
}
