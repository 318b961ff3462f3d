export type Json = null | boolean | number | string | Json[] | JsonObject
export type JsonObject = { [key: string]: Json }
/** A JSON value or Cosmos's `undefined`: what an expression over a missing property yields. */
export type Value = Json | undefined

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Deepest nesting of objects and arrays in `value`, given up on (and returned) as soon as it exceeds `limit`. */
export const nestingDepth = (value: Json, limit: number): number => {
  if (typeof value !== 'object' || value === null || limit < 0) return 0
  let deepest = 0
  const look = (child: Json): boolean => {
    if (typeof child === 'object' && child !== null) deepest = Math.max(deepest, nestingDepth(child, limit - 1))
    return deepest > limit
  }
  // Every item written comes through here, and an array of its values would be made for each object in it.
  if (Array.isArray(value)) value.some(look)
  else for (const key in value) if (look(value[key] ?? null)) break
  return deepest + 1
}
