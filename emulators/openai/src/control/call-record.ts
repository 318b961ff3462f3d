import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { CallRecord } from './call-log.ts'
import type { Operation } from './faults.ts'
import type { Resource, TwinCore } from '../twin.ts'

const text = (value: string | string[] | undefined): string | null => (typeof value === 'string' ? value : null)

/** Begins the log record of a call that has just arrived. */
export function beginRecord(
  twin: TwinCore,
  req: IncomingMessage,
  resource: Resource,
  operation: Operation,
): CallRecord {
  const headers: Record<string, string> = {}
  for (const name of twin.loggedHeaders) {
    const value = req.headers[name]
    if (typeof value === 'string') headers[name] = value
  }
  return twin.calls.add({
    at: twin.clock.now(),
    resource: resource.settings.name,
    deployment: null,
    operation,
    status: 0,
    outcome: 'open',
    estimated_tokens: 0,
    prompt_tokens: 0,
    cached_tokens: 0,
    completion_tokens: 0,
    model: null,
    request_id: randomUUID(),
    client_request_id: text(req.headers['x-ms-client-request-id']),
    headers,
    prompt_hash: null,
    right: null,
    difficulty: null,
    fault: null,
    ms: 0,
  })
}
