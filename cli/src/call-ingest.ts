import { z } from 'zod'
import type { Connection } from './connection.ts'
import { UsageError } from './usage-error.ts'

const errorBody = z.object({ error: z.object({ message: z.string(), param: z.string().nullish() }) })
const deadlineMs = 30_000

/**
 * One call of ingest.
 * @throws UsageError with what ingest said is wrong, or that it could not be reached
 */
export async function callIngest(
  { url, key }: Connection,
  path: string,
  init: RequestInit & { deadlineMs?: number } = {},
): Promise<Response> {
  const { deadlineMs: withinMs = deadlineMs, ...rest } = init
  let answer: Response
  try {
    answer = await fetch(`${url}${path}`, {
      signal: AbortSignal.timeout(withinMs),
      ...rest,
      headers: { ...(rest.headers as Record<string, string> | undefined), authorization: `Bearer ${key}` },
    })
  } catch (cause) {
    const why = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause)
    throw new UsageError(`${url} could not be reached: ${why}`, { cause })
  }
  if (answer.ok) return answer
  const said = errorBody.safeParse(await answer.json().catch(() => undefined))
  throw new UsageError(said.success ? said.data.error.message : `${url}${path} answered ${answer.status}.`)
}

/** The JSON answer of a call, checked. */
export async function readJson<S extends z.ZodType>(schema: S, answer: Response): Promise<z.infer<S>> {
  const parsed = schema.safeParse(await answer.json().catch(() => undefined))
  if (!parsed.success) throw new UsageError('the answer is none that this version understands.')
  return parsed.data
}
