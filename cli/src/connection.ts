import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { UsageError } from './usage-error.ts'

/** Where ingest is, and with which key it is called. */
export interface Connection {
  url: string
  key: string
}

/** Options of every command that calls ingest. */
export const connectionOptions = { url: { type: 'string' }, key: { type: 'string' } } as const

/**
 * The options, else SLUICE_URL or INGEST_URL and SLUICE_API_KEY, else what a local stack started in this directory
 * wrote to .local/stack.env.
 * @throws UsageError when one of both is not known
 */
export function connectionFrom(
  options: { url?: string | undefined; key?: string | undefined },
  env: Readonly<Record<string, string | undefined>>,
  stackEnvFile = '.local/stack.env',
): Connection {
  const local = localStack(stackEnvFile)
  const url = options.url ?? env.SLUICE_URL ?? env.INGEST_URL ?? local.INGEST_URL
  const key = options.key ?? env.SLUICE_API_KEY ?? local.SLUICE_API_KEY
  if (url === undefined || !URL.canParse(url)) throw new UsageError('say where ingest is: --url URL, or SLUICE_URL.')
  if (key === undefined || key === '') throw new UsageError('give an API key: --key KEY, or SLUICE_API_KEY.')
  return { url: url.replace(/\/+$/, ''), key }
}

function localStack(file: string): Readonly<Record<string, string | undefined>> {
  try {
    return parseEnv(readFileSync(file, 'utf8'))
  } catch {
    return {}
  }
}
