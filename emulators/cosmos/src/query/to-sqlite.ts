import type { SQLInputValue } from 'node:sqlite'
import type { Value } from '../json.ts'
import type { BinaryOperator, Expression, Parameters } from '../sql/syntax.ts'
import { typeRank, type TypeRank } from '../sql/values.ts'
import { isPlainKey } from '../store/json-path.ts'
import { rankOf, valueOf, type Path } from '../store/path-indexes.ts'
import type { Fragment } from './fragment.ts'

/** A condition; `path` is set when an index on that path can find the rows that meet it. */
export interface Filter extends Fragment {
  path?: Path
  /** Whether that is an equality (or several) rather than a range. */
  exact?: boolean
  /** Whether all those rows have the same value there. */
  fixed?: boolean
}

export interface Translation {
  /** All of them must hold. */
  filters: Filter[]
  /** What SQLite could not express; evaluated in JavaScript on the rows that are left. */
  residual: Expression | undefined
}

const never: Filter = { sql: '0', binds: [] }
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
const ranksOfTest: Record<string, string> = {
  IS_NULL: '1',
  IS_BOOL: '2',
  IS_NUMBER: '3',
  IS_STRING: '4',
  IS_ARRAY: '5',
  IS_OBJECT: '6',
  IS_PRIMITIVE: '1, 2, 3, 4',
  IS_DEFINED: '1, 2, 3, 4, 5, 6',
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

const isPlainText = (text: string): boolean => !text.includes('\0') && text.isWellFormed()

/** A scalar as SQLite takes it; undefined for text that its JSON functions mangle: NUL, lone surrogates. */
const bindOf = (value: string | number): SQLInputValue | undefined => {
  if (typeof value === 'number') return numberBind(value)
  return isPlainText(value) ? value : undefined
}

const typed = (path: Path, rank: TypeRank, comparison: string, binds: SQLInputValue[]): Filter => ({
  sql: `(${rankOf(path)} = ${rank} AND ${valueOf(path)} ${comparison})`,
  binds,
  path,
  exact: /^(=|IN)/.test(comparison),
  fixed: comparison.startsWith('='),
})

/** `x BETWEEN a AND b` as `x >= a` and `x <= b`. */
const boundsOf = ({ value, low, high }: Extract<Expression, { type: 'between' }>): [Expression, Expression] => [
  { type: 'binary', operator: '>=', left: value, right: low },
  { type: 'binary', operator: '<=', left: value, right: high },
]

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
  readonly #alias: string
  readonly #parameters: Parameters

  constructor(alias: string, parameters: Parameters) {
    this.#alias = alias
    this.#parameters = parameters
  }

  condition(expression: Expression, positive: boolean): Filter | undefined {
    switch (expression.type) {
      case 'literal':
        return { sql: expression.value === positive ? '1' : '0', binds: [] }
      case 'unary':
        return expression.operator === 'NOT' ? this.condition(expression.operand, !positive) : undefined
      case 'binary':
        return this.#binary(expression, positive)
      case 'between': {
        const [left, right] = boundsOf(expression)
        return this.#binary({ type: 'binary', operator: 'AND', left, right }, positive)
      }
      case 'in':
        return this.#in(expression, positive)
      case 'member': {
        const path = this.#path(expression)
        return path && this.#equal(path, positive)
      }
      case 'call':
        return this.#call(expression, positive)
      default:
        return undefined
    }
  }

  #binary(expression: Extract<Expression, { type: 'binary' }>, positive: boolean): Filter | undefined {
    const { left, operator, right } = expression
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
    if (effective === undefined || flipped[effective] === undefined) return undefined
    if (effective === '=') return this.#equal(path, constant.value)
    if (effective === '!=') return this.#notEqual(path, this.#equal(path, constant.value), constant.value === undefined)
    return this.#compare(path, effective, constant.value)
  }

  #in(expression: Extract<Expression, { type: 'in' }>, positive: boolean): Filter | undefined {
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

  #anyOf(path: Path, values: readonly Value[]): Filter | undefined {
    const alternatives: Filter[] = []
    for (const rank of [3, 4] as const) {
      const binds: SQLInputValue[] = []
      for (const value of values) {
        if (typeRank(value) !== rank) continue
        const bind = bindOf(value as string | number)
        if (bind === undefined) return undefined
        binds.push(bind)
      }
      if (binds.length > 0) alternatives.push(typed(path, rank, `IN (${binds.map(() => '?').join(', ')})`, binds))
    }
    for (const value of values) {
      if (typeof value === 'number' || typeof value === 'string') continue
      const equal = this.#equal(path, value)
      if (equal === undefined) return undefined
      alternatives.push(equal)
    }
    const [only, ...others] = alternatives
    if (only === undefined || others.length === 0) return only ?? never
    return {
      sql: `(${alternatives.map(({ sql }) => sql).join(' OR ')})`,
      binds: alternatives.flatMap(({ binds }) => binds),
    }
  }

  #equal(path: Path, value: Value): Filter | undefined {
    if (value === undefined) return never
    if (value === null) return { sql: `(${rankOf(path)} = 1)`, binds: [], path, exact: true, fixed: true }
    if (typeof value === 'boolean') return typed(path, 2, `= ${Number(value)}`, [])
    return typeof value === 'object' ? undefined : this.#compare(path, '=', value)
  }

  /** True when the property exists and `equal` is not true; `equal` is never NULL for a property that exists. */
  #notEqual(path: Path, equal: Fragment | undefined, undefinedInvolved: boolean): Filter | undefined {
    if (undefinedInvolved) return never
    return equal && { sql: `(${rankOf(path)} IS NOT NULL AND NOT ${equal.sql})`, binds: equal.binds }
  }

  #compare(path: Path, operator: BinaryOperator, value: Value): Filter | undefined {
    if (typeof value === 'number' || typeof value === 'string') {
      const bind = bindOf(value)
      return bind === undefined ? undefined : typed(path, typeof value === 'number' ? 3 : 4, `${operator} ?`, [bind])
    }
    return value === undefined || (typeof value === 'object' && value !== null) ? never : undefined
  }

  #call(expression: Extract<Expression, { type: 'call' }>, positive: boolean): Filter | undefined {
    const [subject, argument] = expression.arguments
    const path = subject && this.#path(subject)
    if (path === undefined) return undefined
    if (expression.arguments.length === 1) {
      const ranks = ranksOfTest[expression.name]
      return ranks === undefined
        ? undefined
        : { sql: `(ifnull(${rankOf(path)}, 0) ${positive ? 'IN' : 'NOT IN'} (${ranks}))`, binds: [] }
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
        ? { sql: `(${text} AND ${valueOf(path)} >= ? AND ${starts})`, binds: [value, value, value], path }
        : { sql: `(${text} AND NOT ${starts})`, binds: [value, value] }
    }
    if (expression.name !== 'CONTAINS') return undefined
    return { sql: `(${text} AND instr(${valueOf(path)}, ?) ${positive ? '>' : '='} 0)`, binds: [value] }
  }

  /** A path with at least one step: the item itself is never compared in SQL. */
  #path(expression: Expression): Path | undefined {
    const path = pathOf(expression, this.#alias)
    return path === undefined || path.length === 0 ? undefined : path
  }

  #constant(expression: Expression): { value: Value } | undefined {
    if (expression.type === 'literal') return { value: expression.value }
    if (expression.type === 'parameter') return { value: this.#parameters.get(expression.name) }
    if (expression.type !== 'unary' || expression.operator !== '-' || expression.operand.type !== 'literal')
      return undefined
    return typeof expression.operand.value === 'number' ? { value: -expression.operand.value } : undefined
  }
}

const conjuncts = (expression: Expression): Expression[] => {
  if (expression.type === 'between') return boundsOf(expression)
  if (expression.type !== 'binary' || expression.operator !== 'AND') return [expression]
  return [...conjuncts(expression.left), ...conjuncts(expression.right)]
}

/** Splits a condition on the item called `alias` into what SQLite can filter and the rest. */
export const translateWhere = (where: Expression | undefined, alias: string, parameters: Parameters): Translation => {
  const translator = new Translator(alias, parameters)
  const filters: Filter[] = []
  let residual: Expression | undefined
  for (const conjunct of where === undefined ? [] : conjuncts(where)) {
    const filter = translator.condition(conjunct, true)
    if (filter !== undefined) filters.push(filter)
    else
      residual =
        residual === undefined ? conjunct : { type: 'binary', operator: 'AND', left: residual, right: conjunct }
  }
  return { filters, residual }
}
