/**
 * What the owner of the work does about an error.
 * - `reject`: the input is at fault; answer the caller (HTTP) or dead-letter with the reason (Service Bus).
 * - `fail`: the work ends as failed; the same call would fail again.
 * - `fail_over`: another deployment may succeed, within the deadline.
 * - `retry`: the same step may succeed later; nothing was decided.
 * - `yield`: somebody else owns the work now; touch nothing.
 */
export type Disposition = 'reject' | 'fail' | 'fail_over' | 'retry' | 'yield'

interface CodeFacts {
  disposition: Disposition
  /** HTTP status when the error is answered over HTTP. */
  status: number
  /** `type` in OpenAI's error object. */
  type: string
}

const code = (disposition: Disposition, status: number, type: string): CodeFacts => ({ disposition, status, type })

export const errorCodes = {
  invalid_line: code('reject', 400, 'invalid_request_error'),
  invalid_json: code('reject', 400, 'invalid_request_error'),
  unsupported_url: code('reject', 400, 'invalid_request_error'),
  unsupported_version: code('reject', 400, 'invalid_request_error'),
  body_ref_not_found: code('reject', 400, 'invalid_request_error'),
  body_ref_mismatch: code('reject', 400, 'invalid_request_error'),
  message_too_large: code('reject', 413, 'invalid_request_error'),
  tenant_not_allowed: code('reject', 403, 'permission_error'),
  idempotency_conflict: code('reject', 409, 'invalid_request_error'),
  model_not_found: code('reject', 404, 'invalid_request_error'),
  unauthorized: code('reject', 401, 'authentication_error'),
  forbidden: code('reject', 403, 'permission_error'),
  not_found: code('reject', 404, 'invalid_request_error'),
  conflict: code('reject', 409, 'invalid_request_error'),
  method_not_allowed: code('reject', 405, 'invalid_request_error'),
  not_configured: code('reject', 501, 'invalid_request_error'),
  unsupported_media_type: code('reject', 415, 'invalid_request_error'),
  rate_limited: code('retry', 429, 'rate_limit_error'),
  no_capacity: code('retry', 429, 'rate_limit_error'),
  budget_exceeded: code('retry', 429, 'insufficient_quota'),
  no_route: code('fail', 400, 'invalid_request_error'),
  cost_limit: code('fail', 400, 'invalid_request_error'),
  deadline_exceeded: code('fail', 504, 'timeout_error'),
  cancelled: code('fail', 499, 'request_cancelled'),
  poison: code('fail', 500, 'server_error'),
  context_length_exceeded: code('fail', 400, 'invalid_request_error'),
  content_policy: code('fail', 400, 'invalid_request_error'),
  model_rejected: code('fail', 400, 'invalid_request_error'),
  model_rate_limited: code('fail_over', 429, 'rate_limit_error'),
  model_unavailable: code('fail_over', 502, 'server_error'),
  model_timeout: code('fail_over', 504, 'timeout_error'),
  model_unauthorized: code('fail_over', 502, 'server_error'),
  lease_lost: code('yield', 409, 'server_error'),
  lock_lost: code('yield', 409, 'server_error'),
  storage_unavailable: code('retry', 503, 'server_error'),
  queue_unavailable: code('retry', 503, 'server_error'),
  delivery_failed: code('retry', 502, 'server_error'),
  delivery_refused: code('fail', 400, 'invalid_request_error'),
  shutting_down: code('retry', 503, 'server_error'),
  internal: code('retry', 500, 'server_error'),
} as const satisfies Record<string, CodeFacts>

/** Every error that Sluice knows; the union is closed so that each switch over it is checked. */
export type ErrorCode = keyof typeof errorCodes

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(errorCodes, text)
