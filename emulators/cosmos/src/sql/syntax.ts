import type { Value } from '../json.ts'

export type BinaryOperator =
  | '='
  | '!='
  | '<'
  | '<='
  | '>'
  | '>='
  | 'AND'
  | 'OR'
  | '??'
  | '||'
  | '+'
  | '-'
  | '*'
  | '/'
  | '%'
  | '&'
  | '|'
  | '^'
  | '<<'
  | '>>'
  | '>>>'

export type Expression =
  | { type: 'literal'; value: Value }
  | { type: 'parameter'; name: string }
  | { type: 'identifier'; name: string; at: number }
  | { type: 'member'; object: Expression; property: Expression }
  | { type: 'unary'; operator: 'NOT' | '-' | '+' | '~'; operand: Expression }
  | { type: 'binary'; operator: BinaryOperator; left: Expression; right: Expression }
  | { type: 'in'; value: Expression; list: Expression[] }
  | { type: 'between'; value: Expression; low: Expression; high: Expression }
  | { type: 'like'; value: Expression; pattern: Expression; escape: Expression | undefined }
  | { type: 'conditional'; test: Expression; consequent: Expression; alternate: Expression }
  | { type: 'call'; name: string; arguments: Expression[]; at: number }
  | { type: 'array'; elements: Expression[] }
  | { type: 'object'; properties: { key: string; value: Expression }[] }
  | { type: 'exists' | 'array-subquery' | 'scalar-subquery'; query: Query }

/** One input of FROM or JOIN. `iterate` is the form `alias IN path`: one row per element of the array. */
export interface Source {
  alias: string
  iterate: boolean
  from: Expression | Query
}

export type Projection =
  | { type: 'star' }
  | { type: 'value'; expression: Expression }
  | { type: 'list'; items: { expression: Expression; name: string }[] }

export interface Query {
  type: 'query'
  distinct: boolean
  top: Expression | undefined
  select: Projection
  sources: Source[]
  where: Expression | undefined
  groupBy: Expression[]
  orderBy: { expression: Expression; descending: boolean }[]
  offset: Expression | undefined
  limit: Expression | undefined
}

export type Parameters = ReadonlyMap<string, Value>
