import type { IncomingHttpHeaders } from 'node:http'
import type { RequestBody, SluiceOptions } from '@sluice/contracts'

const sessionHeaders = ['x-session-id', 'x-ms-session-id', 'x-conversation-id']

/** What a caller calls its session: a header, else a field of the body. */
export function sessionOf(
  headers: IncomingHttpHeaders,
  body: RequestBody,
  options: SluiceOptions | undefined,
): string | undefined {
  const header = sessionHeaders.map((name) => headers[name]).find((value) => value !== undefined)
  const { conversation } = body
  // The Responses API takes an id or an object with one.
  const id = typeof conversation === 'object' && conversation !== null && 'id' in conversation ? conversation.id : null
  const named = [header, options?.session_id, options?.conversation, body.session_id, conversation, id, body.user]
  return named.find((value) => typeof value === 'string' && value !== '') as string | undefined
}
