import type { Json, Value } from '../json.ts'
import { callFunction } from './functions.ts'
import { likePattern } from './like.ts'
import type { BinaryOperator, Expression, Parameters, Query } from './syntax.ts'
import { syntaxError } from './tokens.ts'
import { compareScalars, equals, member } from './values.ts'

/** Values of the query's variables while one row is evaluated. Every alias and aggregate has its own slot. */
export type Slots = Value[]
export type Evaluate = (slots: Slots) => Value

export interface AggregateCall {
  name: string
  argument: Evaluate
  slot: number
}

export interface Scope {
  readonly aliases: ReadonlyMap<string, number>
  readonly parameters: Parameters
  readonly nowMs: number
  /** Shared by a query and its subqueries, so that slots never clash. */
  readonly slots: { next: number }
  /** Where aggregate calls are collected; undefined where they are not allowed (WHERE, inside another aggregate). */
  readonly aggregates: AggregateCall[] | undefined
  readonly compileSubquery: (query: Query, scope: Scope) => (slots: Slots) => Iterable<Value>
}

const aggregateNames = new Set(['COUNT', 'SUM', 'AVG', 'MIN', 'MAX'])

const and = (left: Value, right: Value): Value => {
  if (left === false || right === false) return false
  return left === true && right === true ? true : undefined
}

const or = (left: Value, right: Value): Value => {
  if (left === true || right === true) return true
  return left === false && right === false ? false : undefined
}

const not = (value: Value): Value => (typeof value === 'boolean' ? !value : undefined)

const ordered =
  (test: (sign: number) => boolean) =>
  (left: Value, right: Value): Value => {
    const sign = compareScalars(left, right)
    return sign === undefined ? undefined : test(sign)
  }

const arithmetic =
  (calculate: (a: number, b: number) => number) =>
  (left: Value, right: Value): Value => {
    if (typeof left !== 'number' || typeof right !== 'number') return undefined
    const result = calculate(left, right)
    return Number.isFinite(result) ? result : undefined
  }

const operators: Record<BinaryOperator, (left: Value, right: Value) => Value> = {
  '=': equals,
  '!=': (left, right) => not(equals(left, right)),
  '<': ordered((sign) => sign < 0),
  '<=': ordered((sign) => sign <= 0),
  '>': ordered((sign) => sign > 0),
  '>=': ordered((sign) => sign >= 0),
  AND: and,
  OR: or,
  '??': (left, right) => (left === undefined ? right : left),
  '||': (left, right) => (typeof left === 'string' && typeof right === 'string' ? left + right : undefined),
  '+': arithmetic((a, b) => a + b),
  '-': arithmetic((a, b) => a - b),
  '*': arithmetic((a, b) => a * b),
  '/': arithmetic((a, b) => a / b),
  '%': arithmetic((a, b) => a % b),
  '&': arithmetic((a, b) => a & b),
  '|': arithmetic((a, b) => a | b),
  '^': arithmetic((a, b) => a ^ b),
  '<<': arithmetic((a, b) => a << b),
  '>>': arithmetic((a, b) => a >> b),
  '>>>': arithmetic((a, b) => a >>> b),
}

/** Turns an expression into a function of the row. Unknown names and functions are a 400 here, not when rows are read. */
export const compileExpression = (expression: Expression, scope: Scope): Evaluate => {
  switch (expression.type) {
    case 'literal': {
      const { value } = expression
      return () => value
    }
    case 'parameter': {
      // A parameter that was not sent is undefined, as in the service.
      const value = scope.parameters.get(expression.name)
      return () => value
    }
    case 'identifier': {
      const slot = scope.aliases.get(expression.name)
      if (slot === undefined) {
        const { name, at } = expression
        throw syntaxError(`Identifier '${name}' could not be resolved.`, at, at + name.length, 'SC2001')
      }
      return (slots) => slots[slot]
    }
    case 'member': {
      const object = compileExpression(expression.object, scope)
      const property = compileExpression(expression.property, scope)
      return (slots) => member(object(slots), property(slots))
    }
    case 'unary':
      return compileUnary(expression.operator, compileExpression(expression.operand, scope))
    case 'binary': {
      const apply = operators[expression.operator]
      const left = compileExpression(expression.left, scope)
      const right = compileExpression(expression.right, scope)
      return (slots) => apply(left(slots), right(slots))
    }
    case 'in': {
      const value = compileExpression(expression.value, scope)
      const list = expression.list.map((item) => compileExpression(item, scope))
      return (slots) => {
        const sought = value(slots)
        return list.reduce<Value>((found, item) => or(found, equals(sought, item(slots))), false)
      }
    }
    case 'between': {
      const value = compileExpression(expression.value, scope)
      const low = compileExpression(expression.low, scope)
      const high = compileExpression(expression.high, scope)
      return (slots) => and(operators['>='](value(slots), low(slots)), operators['<='](value(slots), high(slots)))
    }
    case 'like':
      return compileLike(expression, scope)
    case 'conditional': {
      const test = compileExpression(expression.test, scope)
      const consequent = compileExpression(expression.consequent, scope)
      const alternate = compileExpression(expression.alternate, scope)
      return (slots) => (test(slots) === true ? consequent(slots) : alternate(slots))
    }
    case 'call':
      return compileCall(expression, scope)
    case 'array': {
      const elements = expression.elements.map((element) => compileExpression(element, scope))
      return (slots) => elements.map((element) => element(slots)).filter((value) => value !== undefined)
    }
    case 'object': {
      const properties = expression.properties.map(({ key, value }) => [key, compileExpression(value, scope)] as const)
      return (slots) => objectOf(properties, slots)
    }
    default:
      return compileSubqueryExpression(expression, scope)
  }
}

const compileSubqueryExpression = (expression: Extract<Expression, { query: Query }>, scope: Scope): Evaluate => {
  const rows = scope.compileSubquery(expression.query, scope)
  if (expression.type === 'array-subquery') return (slots) => [...rows(slots)] as Json[]
  const first = (slots: Slots): IteratorResult<Value, unknown> => rows(slots)[Symbol.iterator]().next()
  if (expression.type === 'exists') return (slots) => first(slots).done !== true
  return (slots) => {
    const result = first(slots)
    return result.done === true ? undefined : result.value
  }
}

/** An object of those properties that are defined in this row. */
export const objectOf = (properties: readonly (readonly [string, Evaluate])[], slots: Slots): Json => {
  const entries: [string, Json][] = []
  for (const [key, evaluate] of properties) {
    const value = evaluate(slots)
    if (value !== undefined) entries.push([key, value])
  }
  // fromEntries defines own properties, so a key named __proto__ is data like any other.
  return Object.fromEntries(entries)
}

const compileUnary = (operator: 'NOT' | '-' | '+' | '~', operand: Evaluate): Evaluate => {
  if (operator === 'NOT') return (slots) => not(operand(slots))
  const apply = { '-': (n: number) => -n, '+': (n: number) => n, '~': (n: number) => ~n }[operator]
  return (slots) => {
    const value = operand(slots)
    return typeof value === 'number' ? apply(value) : undefined
  }
}

const compileLike = (expression: Extract<Expression, { type: 'like' }>, scope: Scope): Evaluate => {
  const value = compileExpression(expression.value, scope)
  const pattern = compileExpression(expression.pattern, scope)
  const escape = expression.escape === undefined ? undefined : compileExpression(expression.escape, scope)
  return (slots) => {
    const text = value(slots)
    const wanted = pattern(slots)
    const mark = escape?.(slots)
    if (typeof text !== 'string' || typeof wanted !== 'string') return undefined
    return likePattern(wanted, typeof mark === 'string' ? mark : undefined).test(text)
  }
}

const compileCall = (expression: Extract<Expression, { type: 'call' }>, scope: Scope): Evaluate => {
  const { name, at } = expression
  if (!aggregateNames.has(name)) {
    const call = callFunction(name, expression.arguments.length, at)
    const values = expression.arguments.map((argument) => compileExpression(argument, scope))
    return (slots) =>
      call(
        values.map((value) => value(slots)),
        scope.nowMs,
      )
  }
  const [argument] = expression.arguments
  if (scope.aggregates === undefined || argument === undefined || expression.arguments.length !== 1)
    throw syntaxError(`Aggregate function '${name}' is not allowed here.`, at, at + name.length, 'SC2100')
  const slot = scope.slots.next
  scope.slots.next += 1
  scope.aggregates.push({ name, argument: compileExpression(argument, { ...scope, aggregates: undefined }), slot })
  return (slots) => slots[slot]
}
