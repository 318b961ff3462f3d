type Literal = string | number | boolean | null

/** A patch's precondition: the part after WHERE, over the row `c`. */
export interface Condition {
  readonly sql: string
}

/**
 * Writes a condition with its values as literals, because Cosmos takes no parameters in a patch's condition. A list
 * becomes what IN expects: `` condition`c.fence = ${3} AND c.status IN (${['accepted', 'waiting']})` ``.
 */
export function condition(parts: TemplateStringsArray, ...values: (Literal | readonly Literal[])[]): Condition {
  const literals = values.map((value) =>
    Array.isArray(value) ? value.map(literal).join(', ') : literal(value as Literal),
  )
  return { sql: String.raw({ raw: parts }, ...literals) }
}

// Cosmos' string literals have JSON's escapes; https://learn.microsoft.com/azure/cosmos-db/nosql/query/constants
function literal(value: Literal): string {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new RangeError(`${value} is no SQL literal`)
  return JSON.stringify(value)
}
