import { readFileSync } from 'node:fs'
import { paramOf, type PlatformConfig, platformConfigSchema } from '@sluice/contracts'
import { parse } from 'yaml'
import { ConfigError } from './config-error.ts'
import type { Env } from './read-env.ts'

/**
 * Reads the platform's YAML file. `${VAR}` and `${VAR:-default}` in its strings are taken from `env`, after parsing, so
 * that no value of a variable can change the file's structure.
 * @throws ConfigError with the file's path and the place of every problem in it
 */
export function loadPlatformConfig(path: string, env: Env): PlatformConfig {
  const problems: string[] = []
  const complain = (place: string, what: string) => problems.push(`${path}: ${place === '' ? '' : `${place}: `}${what}`)
  const substituted = substitute(readYaml(path), env, complain)
  if (problems.length > 0) throw new ConfigError(problems)
  const parsed = platformConfigSchema.safeParse(substituted)
  if (parsed.success) return withPlainRecords(parsed.data)
  for (const issue of parsed.error.issues) complain(paramOf(issue.path), issue.message)
  throw new ConfigError(problems)
}

/**
 * Tenants, lanes and models are looked up by names that callers choose: without a prototype nobody is found under
 * `constructor`.
 */
function withPlainRecords(config: PlatformConfig): PlatformConfig {
  const { tenants, lanes, prices, routing } = config
  for (const record of [tenants, lanes, prices, routing.aliases]) Object.setPrototypeOf(record, null)
  return config
}

function readYaml(path: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new ConfigError([`${path}: cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown error'})`])
  }
  try {
    return parse(text)
  } catch (cause) {
    throw new ConfigError([`${path}: not valid YAML: ${(cause as Error).message.split('\n')[0]}`])
  }
}

type Complain = (place: string, what: string) => void

function substitute(value: unknown, env: Env, complain: Complain, path: PropertyKey[] = []): unknown {
  if (typeof value === 'string') return substituteText(value, env, (what) => complain(paramOf(path), what))
  if (Array.isArray(value)) return value.map((item, index) => substitute(item, env, complain, [...path, index]))
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([name, field]) => [
    name,
    substitute(field, env, complain, [...path, name]),
  ])
  return Object.fromEntries(entries) as unknown
}

function substituteText(text: string, env: Env, complain: (what: string) => void): string {
  return text.replace(/\$\{([^}]*)\}?/g, (reference: string, inside: string) => {
    const [, name, fallback] = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inside) ?? []
    if (name === undefined || !reference.endsWith('}')) {
      complain('a reference is written ${VAR} or ${VAR:-default}')
      return ''
    }
    const value = env[name] === '' ? undefined : env[name]
    if (value === undefined && fallback === undefined) complain(`${name} is not set`)
    return value ?? fallback ?? ''
  })
}
