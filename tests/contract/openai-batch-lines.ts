import type { DeploymentConfig } from './openai-twin.ts'

/** A line of a batch's output or error file. */
export interface OutputLine {
  custom_id: string
  response: {
    status_code: number
    body: { choices?: { message: { content: string } }[]; error?: { code: string } }
  } | null
  error: { code: string } | null
}

export const hourMs = 3_600_000
/** A batch deployment that answers a line a second, and one that is none. */
export const deployments: DeploymentConfig[] = [
  {
    name: 'bulk',
    model: 'gpt-4.1',
    kind: 'batch',
    ability: 1,
    enqueued_tokens: 2_000,
    batch: { validate_ms: 1_000, lines_per_minute: 60, finalize_ms: 1_000, cancel_ms: 1_000, max_lines: 120 },
  },
  { name: 'online', model: 'gpt-4.1' },
]
/** The i-th line of an input file. */
export const line = (i: number, fields: object = {}, content = `Question ${i} [answer=${i}]`) => ({
  custom_id: `line-${i}`,
  method: 'POST',
  url: '/chat/completions',
  body: { model: 'bulk', messages: [{ role: 'user', content }] },
  ...fields,
})
export const jsonl = (lines: object[]): string => lines.map((entry) => `${JSON.stringify(entry)}\n`).join('')
