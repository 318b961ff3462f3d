import { z } from 'zod'
import { ConfigError } from './config-error.ts'

export type Env = Readonly<Record<string, string | undefined>>

/**
 * The environment as a schema reads it; an empty variable counts as unset, as it does in a shell's `${VAR:-default}`.
 * @throws ConfigError naming every variable that is missing or unusable
 */
export function readEnv<S extends z.ZodType>(schema: S, env: Env): z.infer<S> {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''))
  const parsed = schema.safeParse(set)
  if (parsed.success) return parsed.data
  throw new ConfigError(
    parsed.error.issues.map((issue) => {
      const name = issue.path.join('.')
      if (name === '') return issue.message
      const absent = issue.code === 'invalid_type' && !(name in set)
      return absent ? `${name} is not set` : `${name}: ${issue.message}`
    }),
  )
}

/** A check for an env schema: at least one of the variables is set. It also runs when other variables are at fault. */
export const oneOf = (...names: readonly string[]) =>
  z.refine<Record<string, unknown>>((env) => names.some((name) => env[name] !== undefined), {
    error: `set one of ${names.join(', ')}`,
    when: ({ value }) => typeof value === 'object' && value !== null,
  })
