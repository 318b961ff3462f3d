import type { SystemProperty } from './rule-message.ts'

export type Comparison = '=' | '<>' | '>' | '>=' | '<' | '<='
export type Arithmetic = '+' | '-' | '*' | '/' | '%'
export type Constant = string | number | bigint | boolean | Date | null

export type PropertyNode =
  | { kind: 'user'; name: string; index: number }
  | { kind: 'system'; name: string; system: SystemProperty; index: number }

export type ExpressionNode =
  | PropertyNode
  /** `isDouble` keeps 2.0 apart from 2, which JavaScript does not: it decides how `/` divides. */
  | { kind: 'constant'; value: Constant; isDouble: boolean; index: number }
  | { kind: 'newid'; index: number }
  | { kind: 'property-function'; name: ExpressionNode; index: number }
  | { kind: 'arithmetic'; operator: Arithmetic; left: ExpressionNode; right: ExpressionNode; index: number }
  | { kind: 'sign'; operator: '+' | '-'; operand: ExpressionNode; index: number }

export type PredicateNode =
  | { kind: 'and' | 'or'; operands: PredicateNode[]; index: number }
  | { kind: 'not'; operand: PredicateNode; index: number }
  | { kind: 'comparison'; operator: Comparison; left: ExpressionNode; right: ExpressionNode; index: number }
  | { kind: 'in'; negated: boolean; left: ExpressionNode; list: ExpressionNode[]; index: number }
  | {
      kind: 'like'
      negated: boolean
      left: ExpressionNode
      pattern: ExpressionNode
      escape: ExpressionNode | undefined
      index: number
    }
  | { kind: 'is-null'; negated: boolean; property: PropertyNode; index: number }
  | { kind: 'exists'; property: PropertyNode; index: number }

export type StatementNode =
  | { kind: 'set'; property: PropertyNode; value: ExpressionNode }
  | { kind: 'remove'; property: PropertyNode }
