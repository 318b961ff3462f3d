import type { SQLInputValue } from 'node:sqlite'
import type { Value } from '../json.ts'
import type { BinaryOperator, Expression, Parameters } from '../sql/syntax.ts'
import { isPlainKey } from '../store/json-path.ts'
import { rankOf, valueOf, type Path } from '../store/path-indexes.ts'

export interface Fragment {
  sql: string
  binds: SQLInputValue[]
}

export interface Translation extends Fragment {
  /** What SQLite could not express; evaluated in JavaScript on the rows that are left. */
  residual: Expression | undefined
  /** Paths an index would have helped with. */
  paths: Path[]
}

const never: Fragment = { sql: '0', binds: [] }
const flipped: Partial<Record<BinaryOperator, BinaryOperator>> = {
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
  '=': '=',
  '!=': '!=',
}
const negations: Partial<Record<BinaryOperator, BinaryOperator>> = {
  '<': '>=',
  '<=': '>',
  '>': '<=',
  '>=': '<',
  '=': '!=',
  '!=': '=',
}

const minInt64 = -(2n ** 63n)
const maxInt64 = 2n ** 63n - 1n

/**
 * SQLite reads the JSON text 9007199254740994 as an integer and would compare it with the exact value of our double, which
 * differs from its shortest decimal form; so large integers are bound by that decimal form.
 */
const numberBind = (value: number): SQLInputValue => {
  if (!Number.isInteger(value) || Number.isSafeInteger(value) || Math.abs(value) >= 1e21) return value
  const decimal = BigInt(String(value))
  return decimal >= minInt64 && decimal <= maxInt64 ? decimal : value
}

/** Whether the text survives the trip through SQLite's JSON functions: no NUL, no lone surrogate. */
const isPlainText = (text: string): boolean => !text.includes('\0') && text.isWellFormed()

/** The property path of an expression over the item; undefined for anything else. */
export const pathOf = (expression: Expression, alias: string): Path | undefined => {
  if (expression.type === 'identifier') return expression.name === alias ? [] : undefined
  if (expression.type !== 'member' || expression.property.type !== 'literal') return undefined
  const object = pathOf(expression.object, alias)
  const step = expression.property.value
  if (object === undefined) return undefined
  if (typeof step === 'number') return Number.isInteger(step) && step >= 0 ? [...object, step] : undefined
  return typeof step === 'string' && isPlainKey(step) ? [...object, step] : undefined
}

/**
 * Translates a WHERE condition to SQLite. Negation is pushed down to the comparisons first (Kleene logic obeys De Morgan), so
 * every fragment only has to be right about being true: false, NULL and Cosmos's undefined all drop the row.
 */
class Translator {
  readonly paths: Path[] = []
  readonly #alias: string
  readonly #parameters: Parameters

  constructor(alias: string, parameters: Parameters) {
    this.#alias = alias
    this.#parameters = parameters
  }

  condition(expression: Expression, positive: boolean): Fragment | undefined {
    switch (expression.type) {
      case 'literal':
        return { sql: expression.value === positive ? '1' : '0', binds: [] }
      case 'unary':
        return expression.operator === 'NOT' ? this.condition(expression.operand, !positive) : undefined
      case 'binary':
        return this.#binary(expression, positive)
      case 'between': {
        const { value, low, high } = expression
        const bounds: Expression = {
          type: 'binary',
          operator: 'AND',
          left: { type: 'binary', operator: '>=', left: value, right: low },
          right: { type: 'binary', operator: '<=', left: value, right: high },
        }
        return this.condition(bounds, positive)
      }
      case 'in':
        return this.#in(expression, positive)
      case 'member': {
        const path = this.#path(expression)
        return path && { sql: `(${rankOf(path)} = 2 AND ${valueOf(path)} = ${positive ? 1 : 0})`, binds: [] }
      }
      case 'call':
        return this.#call(expression, positive)
      default:
        return undefined
    }
  }

  #binary(expression: Extract<Expression, { type: 'binary' }>, positive: boolean): Fragment | undefined {
    const { left, right } = expression
    let { operator } = expression
    if (operator === 'AND' || operator === 'OR') {
      const a = this.condition(left, positive)
      const b = a && this.condition(right, positive)
      const joint = (operator === 'AND') === positive ? 'AND' : 'OR'
      return b && { sql: `(${a.sql} ${joint} ${b.sql})`, binds: [...a.binds, ...b.binds] }
    }
    const direct = this.#constant(right)
    const constant = direct ?? this.#constant(left)
    const path = this.#path(direct === undefined ? right : left)
    if (constant === undefined || path === undefined) return undefined
    const oriented = direct === undefined ? flipped[operator] : operator
    const effective = oriented !== undefined && !positive ? negations[oriented] : oriented
    if (effective === undefined) return undefined
    operator = effective
    if (operator === '=') return this.#equal(path, constant.value)
    if (operator === '!=') return this.#notEqual(path, this.#equal(path, constant.value), constant.value === undefined)
    return this.#range(path, operator, constant.value)
  }

  #in(expression: Extract<Expression, { type: 'in' }>, positive: boolean): Fragment | undefined {
    const path = this.#path(expression.value)
    if (path === undefined) return undefined
    const values: Value[] = []
    for (const item of expression.list) {
      const constant = this.#constant(item)
      if (constant === undefined) return undefined
      values.push(constant.value)
    }
    const any = this.#anyOf(path, values)
    return positive ? any : this.#notEqual(path, any, values.includes(undefined))
  }

  #anyOf(path: Path, values: readonly Value[]): Fragment | undefined {
    const alternatives: Fragment[] = []
    for (const [rank, type] of [
      [3, 'number'],
      [4, 'string'],
    ] as const) {
      const binds = values.filter((value) => typeof value === type) as (number | string)[]
      if (binds.some((bind) => typeof bind === 'string' && !isPlainText(bind))) return undefined
      if (binds.length === 0) continue
      const sql = `${rankOf(path)} = ${rank} AND ${valueOf(path)} IN (${binds.map(() => '?').join(', ')})`
      alternatives.push({ sql, binds: binds.map((bind) => (typeof bind === 'number' ? numberBind(bind) : bind)) })
    }
    for (const value of values) {
      if (typeof value === 'number' || typeof value === 'string') continue
      const equal = this.#equal(path, value)
      if (equal === undefined) return undefined
      alternatives.push(equal)
    }
    if (alternatives.length === 0) return never
    return {
      sql: `(${alternatives.map(({ sql }) => `(${sql})`).join(' OR ')})`,
      binds: alternatives.flatMap(({ binds }) => binds),
    }
  }

  #equal(path: Path, value: Value): Fragment | undefined {
    if (value === undefined) return never
    if (value === null) return { sql: `(${rankOf(path)} = 1)`, binds: [] }
    if (typeof value === 'boolean')
      return { sql: `(${rankOf(path)} = 2 AND ${valueOf(path)} = ${Number(value)})`, binds: [] }
    return typeof value === 'object' ? undefined : this.#range(path, '=', value)
  }

  /** True when the property exists and `equal` is not true; `equal` is never NULL for a property that exists. */
  #notEqual(path: Path, equal: Fragment | undefined, undefinedInvolved: boolean): Fragment | undefined {
    if (undefinedInvolved) return never
    return equal && { sql: `(${rankOf(path)} IS NOT NULL AND NOT ${equal.sql})`, binds: equal.binds }
  }

  #range(path: Path, operator: BinaryOperator, value: Value): Fragment | undefined {
    if (typeof value === 'number')
      return { sql: `(${rankOf(path)} = 3 AND ${valueOf(path)} ${operator} ?)`, binds: [numberBind(value)] }
    if (typeof value === 'string') {
      return isPlainText(value)
        ? { sql: `(${rankOf(path)} = 4 AND ${valueOf(path)} ${operator} ?)`, binds: [value] }
        : undefined
    }
    return value === undefined || (typeof value === 'object' && value !== null) ? never : undefined
  }

  #call(expression: Extract<Expression, { type: 'call' }>, positive: boolean): Fragment | undefined {
    const [subject, argument] = expression.arguments
    const path = subject && this.#path(subject)
    if (path === undefined) return undefined
    if (expression.arguments.length === 1) {
      const ranks = {
        IS_NULL: '1',
        IS_BOOL: '2',
        IS_NUMBER: '3',
        IS_STRING: '4',
        IS_ARRAY: '5',
        IS_OBJECT: '6',
        IS_PRIMITIVE: '1, 2, 3, 4',
      }[expression.name]
      if (expression.name === 'IS_DEFINED')
        return { sql: `(${rankOf(path)} IS ${positive ? 'NOT ' : ''}NULL)`, binds: [] }
      if (ranks === undefined) return undefined
      return { sql: `(ifnull(${rankOf(path)}, 0) ${positive ? 'IN' : 'NOT IN'} (${ranks}))`, binds: [] }
    }
    const constant = argument && this.#constant(argument)
    if (expression.arguments.length !== 2 || constant === undefined) return undefined
    const { value } = constant
    if (typeof value !== 'string' || !isPlainText(value)) return undefined
    const text = `${rankOf(path)} = 4`
    // The lower bound is redundant; it is what lets an index serve a prefix.
    if (expression.name === 'STARTSWITH') {
      const starts = `substr(${valueOf(path)}, 1, length(?)) = ?`
      return positive
        ? { sql: `(${text} AND ${valueOf(path)} >= ? AND ${starts})`, binds: [value, value, value] }
        : { sql: `(${text} AND NOT ${starts})`, binds: [value, value] }
    }
    if (expression.name === 'CONTAINS')
      return { sql: `(${text} AND instr(${valueOf(path)}, ?) ${positive ? '>' : '='} 0)`, binds: [value] }
    return undefined
  }

  /** A path with at least one step: the item itself is never compared in SQL. */
  #path(expression: Expression): Path | undefined {
    const path = pathOf(expression, this.#alias)
    if (path === undefined || path.length === 0) return undefined
    this.paths.push(path)
    return path
  }

  #constant(expression: Expression): { value: Value } | undefined {
    if (expression.type === 'literal') return { value: expression.value }
    if (expression.type === 'parameter') return { value: this.#parameters.get(expression.name) }
    if (expression.type !== 'unary' || expression.operator !== '-' || expression.operand.type !== 'literal')
      return undefined
    return typeof expression.operand.value === 'number' ? { value: -expression.operand.value } : undefined
  }
}

const conjuncts = (expression: Expression): Expression[] =>
  expression.type === 'binary' && expression.operator === 'AND'
    ? [...conjuncts(expression.left), ...conjuncts(expression.right)]
    : [expression]

/** Splits a condition on the item called `alias` into what SQLite can filter and the rest. */
export const translateWhere = (where: Expression | undefined, alias: string, parameters: Parameters): Translation => {
  const translator = new Translator(alias, parameters)
  const fragments: Fragment[] = []
  let residual: Expression | undefined
  for (const conjunct of where === undefined ? [] : conjuncts(where)) {
    const fragment = translator.condition(conjunct, true)
    if (fragment !== undefined) fragments.push(fragment)
    else
      residual =
        residual === undefined ? conjunct : { type: 'binary', operator: 'AND', left: residual, right: conjunct }
  }
  return {
    sql: fragments.map(({ sql }) => sql).join(' AND '),
    binds: fragments.flatMap(({ binds }) => binds),
    residual,
    paths: translator.paths,
  }
}
