import { writeFileSync } from 'node:fs'

/** `.local/stack.env`: every address and key of the running stack, quoted so that dotenv and a shell both read it. */
export function writeStackEnv(file: string, values: Record<string, string>): void {
  const lines = Object.entries(values).map(([name, value]) => {
    if (/['\n]/.test(value)) throw new Error(`${name} holds a quote or a line break`)
    return `${name}='${value}'`
  })
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 })
}

/** The inverse of {@link writeStackEnv}, as dotenv reads it. */
export function parseStackEnv(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/^([A-Z_]+)='([^'\n]*)'$/gm)].map(([, name = '', value = '']) => [name, value]),
  )
}
