/**
 * A rule that cannot be created: a syntax error, a construct outside the documented subset, or a quota exceeded.
 * `index` counts UTF-16 code units from 0, `line` and `column` from 1; `expected` says what would have been valid there.
 */
export class RuleSyntaxError extends Error {
  readonly index: number
  readonly line: number
  readonly column: number
  readonly expected: string

  constructor(expression: string, index: number, expected: string, found: string) {
    const before = expression.slice(0, index)
    const line = before.split('\n').length
    const column = index - before.lastIndexOf('\n')
    super(`expected ${expected} at line ${line}, column ${column} (index ${index}), found ${found}`)
    this.name = 'RuleSyntaxError'
    this.index = index
    this.line = line
    this.column = column
    this.expected = expected
  }
}

/** A valid rule that one message made fail, such as an integer division by zero; the service calls it a FilterException. */
export class RuleEvaluationError extends Error {
  override readonly name = 'RuleEvaluationError'
}
