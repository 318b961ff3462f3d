const plainKey = /^[\p{L}\p{N}_$ .:@-]+$/u

/** Whether SQLite's path syntax can name this key (it has no escape for quotes and backslashes). */
export const isPlainKey = (key: string): boolean => plainKey.test(key)

/**
 * A SQL literal with SQLite's JSON path for property names and array indexes. A literal, not a parameter: an expression index
 * is only used by text that equals its definition.
 */
export const jsonPath = (steps: readonly (string | number)[]): string =>
  `'$${steps.map((step) => (typeof step === 'number' ? `[${step}]` : `."${step}"`)).join('')}'`
