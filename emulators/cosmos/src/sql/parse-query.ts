import { ExpressionParser } from './parse-expression.ts'
import type { Expression, Projection, Query, Source } from './syntax.ts'
import { TokenReader } from './token-reader.ts'
import { syntaxError } from './tokens.ts'

const nameOf = (expression: Expression): string | undefined => {
  if (expression.type === 'identifier') return expression.name
  if (expression.type !== 'member' || expression.property.type !== 'literal') return undefined
  return typeof expression.property.value === 'string' ? expression.property.value : undefined
}

const parseProjection = (reader: TokenReader, expressions: ExpressionParser): Projection => {
  if (reader.takeSymbol('*')) return { type: 'star' }
  if (reader.isKeyword('VALUE') && !reader.isSymbol(',', 1) && !reader.isSymbol('.', 1)) {
    reader.next()
    return { type: 'value', expression: expressions.parse() }
  }
  const items: { expression: Expression; name: string }[] = []
  let unnamed = 0
  do {
    const expression = expressions.parse()
    const aliased = reader.takeKeyword('AS') || reader.isIdentifier()
    const name = aliased ? reader.next().text : nameOf(expression)
    // Expressions without a name are called $1, $2, …
    if (name === undefined) unnamed += 1
    items.push({ expression, name: name ?? `$${unnamed}` })
  } while (reader.takeSymbol(','))
  return { type: 'list', items }
}

const parseSource = (reader: TokenReader, expressions: ExpressionParser): Source => {
  if (reader.isIdentifier() && reader.isKeyword('IN', 1)) {
    const alias = reader.identifier()
    reader.next()
    return { alias, iterate: true, from: parseInput(reader, expressions) }
  }
  const from = parseInput(reader, expressions)
  const aliased = reader.takeKeyword('AS') || reader.isIdentifier()
  const alias = aliased ? reader.identifier() : from.type === 'query' ? undefined : nameOf(from)
  return { alias: alias ?? '', iterate: false, from }
}

const parseInput = (reader: TokenReader, expressions: ExpressionParser): Expression | Query => {
  if (reader.isSymbol('(') && reader.isKeyword('SELECT', 1)) {
    reader.next()
    const query = reader.nested(() => parseSelect(reader))
    reader.expectSymbol(')')
    return query
  }
  let path: Expression = { type: 'identifier', at: reader.peek().start, name: reader.identifier() }
  for (;;) {
    if (reader.takeSymbol('.'))
      path = { type: 'member', object: path, property: { type: 'literal', value: reader.next().text } }
    else if (reader.takeSymbol('[')) {
      path = { type: 'member', object: path, property: expressions.parse() }
      reader.expectSymbol(']')
    } else return path
  }
}

const parseClauses = (
  reader: TokenReader,
  expressions: ExpressionParser,
  head: Pick<Query, 'distinct' | 'top' | 'select'>,
): Query => {
  const sources: Source[] = []
  if (reader.takeKeyword('FROM')) {
    do sources.push(parseSource(reader, expressions))
    while (reader.takeKeyword('JOIN'))
  }
  const where = reader.takeKeyword('WHERE') ? expressions.parse() : undefined
  const groupBy: Expression[] = []
  if (reader.takeKeyword('GROUP')) {
    reader.expectKeyword('BY')
    do groupBy.push(expressions.parse())
    while (reader.takeSymbol(','))
  }
  const orderBy: Query['orderBy'] = []
  if (reader.takeKeyword('ORDER')) {
    reader.expectKeyword('BY')
    do {
      const expression = expressions.parse()
      const descending = reader.takeKeyword('DESC')
      if (!descending) reader.takeKeyword('ASC')
      orderBy.push({ expression, descending })
    } while (reader.takeSymbol(','))
  }
  let offset: Expression | undefined
  let limit: Expression | undefined
  if (reader.takeKeyword('OFFSET')) {
    offset = expressions.parse()
    // Real Cosmos DB knows OFFSET and LIMIT only together.
    reader.expectKeyword('LIMIT')
    limit = expressions.parse()
  }
  return { type: 'query', ...head, sources, where, groupBy, orderBy, offset, limit }
}

const parseSelect = (reader: TokenReader): Query => {
  const expressions = new ExpressionParser(reader, parseSelect)
  reader.expectKeyword('SELECT')
  const distinct = reader.takeKeyword('DISTINCT')
  const top = reader.takeKeyword('TOP') ? expressions.parse() : undefined
  return parseClauses(reader, expressions, { distinct, top, select: parseProjection(reader, expressions) })
}

const atEnd = (reader: TokenReader, query: Query): Query => {
  if (reader.peek().type !== 'end') throw reader.unexpected()
  if (query.select.type === 'star' && query.sources.length === 0)
    throw syntaxError("'SELECT *' is not valid if FROM clause is omitted.", 0, 8, 'SC2040')
  if (query.select.type === 'star' && query.sources.length > 1)
    throw syntaxError("'SELECT *' is only valid with a single input set.", 0, 8, 'SC2040')
  return query
}

/** Parses `SELECT …`. Throws 400 with code SC1001 and the position of the offending token. */
export const parseQuery = (text: string): Query => {
  const reader = new TokenReader(text)
  return atEnd(reader, parseSelect(reader))
}

/** Parses the condition of a patch, `FROM c WHERE …`, as if it began with SELECT *. */
export const parseCondition = (text: string): Query => {
  const reader = new TokenReader(text)
  if (!reader.isKeyword('FROM')) throw reader.unexpected()
  const head = { distinct: false, top: undefined, select: { type: 'star' as const } }
  return atEnd(reader, parseClauses(reader, new ExpressionParser(reader, parseSelect), head))
}
