import type { DeploymentUrl } from '@sluice/contracts'
import { type AppError, openAIErrorBody } from '@sluice/errors'

/**
 * The last event of a stream that cannot be completed: OpenAI's error object, which the openai SDKs throw as an APIError.
 * Of the Responses API it is the documented `error` event as well. No `[DONE]` follows.
 * @param sequence number of events before it
 */
export function errorEvent(url: DeploymentUrl, failure: AppError, sequence: number): Buffer {
  const { error } = openAIErrorBody(failure)
  if (url !== '/v1/responses') return Buffer.from(`data: ${JSON.stringify({ error })}\n\n`)
  const { code, message, param } = error
  const event = { type: 'error', sequence_number: sequence, code, message, param, error }
  return Buffer.from(`event: error\ndata: ${JSON.stringify(event)}\n\n`)
}
