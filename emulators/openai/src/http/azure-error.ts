/** An error as Azure OpenAI or its gateway puts it on the wire. Thrown by handlers, written by the exchange. */
export class AzureError extends Error {
  readonly status: number
  readonly body: object
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, body: object, headers: Record<string, string> = {}) {
    super(JSON.stringify(body))
    this.name = 'AzureError'
    this.status = status
    this.body = body
    this.headers = headers
  }
}

/** The gateway's own shape: a code and a message, nothing else. */
const gateway = (status: number, code: string, message: string, headers?: Record<string, string>): AzureError =>
  new AzureError(status, { error: { code, message } }, headers)

/** The model API's shape, the one that OpenAI documents. */
export const invalidRequest = (message: string, param: string | null = null, code: string | null = null): AzureError =>
  new AzureError(400, { error: { message, type: 'invalid_request_error', param, code } })

export const unauthorized = (): AzureError =>
  gateway(
    401,
    '401',
    'Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.',
    { 'www-authenticate': 'AzureApiManagementKey realm="openai",name="api-key",type="header"' },
  )

export const resourceNotFound = (): AzureError => gateway(404, '404', 'Resource not found')

export const deploymentNotFound = (): AzureError =>
  gateway(
    404,
    'DeploymentNotFound',
    'The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.',
  )

export const operationNotSupported = (operation: string, model: string): AzureError =>
  gateway(
    400,
    'OperationNotSupported',
    `The ${operation} operation does not work with the specified model, ${model}. Please choose different model and try again. You can learn more about which models can be used with each operation here: https://go.microsoft.com/fwlink/?linkid=2197993.`,
  )

export const notFound = (message: string, param = 'id'): AzureError =>
  new AzureError(404, { error: { message, type: 'invalid_request_error', param, code: null } })

export const payloadTooLarge = (limit: number): AzureError =>
  gateway(413, 'RequestEntityTooLarge', `The request body is larger than the ${limit} bytes that are allowed.`)

export const unsupportedMediaType = (expected: string): AzureError =>
  gateway(415, 'UnsupportedMediaType', `The content type of the request must be ${expected}.`)

export interface RateLimitDetail {
  operation: string
  apiVersion: string
  what: 'token' | 'call' | 'provisioned throughput'
  retryAfterMs: number
}

/** 429 as the gateway writes it; policy-id tells tokens from calls. */
export function rateLimited({ operation, apiVersion, what, retryAfterMs }: RateLimitDetail): AzureError {
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000))
  const limit =
    what === 'provisioned throughput'
      ? 'the provisioned throughput of this deployment'
      : `${what} rate limit of your current OpenAI S0 pricing tier`
  const headers: Record<string, string> = {
    'retry-after': String(seconds),
    'retry-after-ms': String(Math.max(1, Math.ceil(retryAfterMs))),
  }
  if (what !== 'provisioned throughput')
    headers['policy-id'] = what === 'token' ? 'DeploymentRatelimit-Token' : 'DeploymentRatelimit-Call'
  return gateway(
    429,
    '429',
    `Requests to the ${operation} Operation under Azure OpenAI API version ${apiVersion} have exceeded ${limit}. Please retry after ${seconds} second${seconds === 1 ? '' : 's'}. Please contact Azure support service if you would like to further increase the default rate limit.`,
    headers,
  )
}

export const contextLengthExceeded = (limit: number, messages: number, completion: number): AzureError =>
  invalidRequest(
    completion > 0
      ? `This model's maximum context length is ${limit} tokens. However, you requested ${messages + completion} tokens (${messages} in the messages, ${completion} in the completion). Please reduce the length of the messages or completion.`
      : `This model's maximum context length is ${limit} tokens. However, your messages resulted in ${messages} tokens. Please reduce the length of the messages.`,
    'messages',
    'context_length_exceeded',
  )

export type FilterCategory = 'hate' | 'self_harm' | 'sexual' | 'violence' | 'jailbreak'

const safe = { filtered: false, severity: 'safe' }

/** Azure's annotations; `filtered` names the one category that was hit, if any. */
export const filterResults = (filtered?: FilterCategory): Record<string, object> => ({
  hate: filtered === 'hate' ? { filtered: true, severity: 'high' } : safe,
  ...(filtered === 'jailbreak' ? { jailbreak: { filtered: true, detected: true } } : {}),
  self_harm: filtered === 'self_harm' ? { filtered: true, severity: 'high' } : safe,
  sexual: filtered === 'sexual' ? { filtered: true, severity: 'high' } : safe,
  violence: filtered === 'violence' ? { filtered: true, severity: 'medium' } : safe,
})

export const contentFiltered = (category: FilterCategory): AzureError =>
  new AzureError(400, {
    error: {
      message:
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry. To learn more about our content filtering policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766",
      type: null,
      param: 'prompt',
      code: 'content_filter',
      status: 400,
      innererror: { code: 'ResponsibleAIPolicyViolation', content_filter_result: filterResults(category) },
    },
  })

const messages: Record<number, [code: string, message: string]> = {
  408: ['Timeout', 'The operation was timeout.'],
  500: ['InternalServerError', 'The server had an error while processing your request. Sorry about that!'],
  502: ['BadGateway', 'The gateway received an invalid response from the upstream server.'],
  503: ['ServiceUnavailable', 'The service is temporarily unable to process your request. Please try again later.'],
  504: ['GatewayTimeout', 'The gateway did not receive a response from the upstream server in time.'],
}

/** What the service answers by itself with a status, for faults that name no body. */
export function serviceError(status: number, retryAfterMs?: number): AzureError {
  if (status === 401) return unauthorized()
  if (status === 404) return deploymentNotFound()
  if (status === 429) {
    const detail = { operation: 'ChatCompletions_Create', apiVersion: '2024-10-21', what: 'token' as const }
    return rateLimited({ ...detail, retryAfterMs: retryAfterMs ?? 1_000 })
  }
  const [code, message] = messages[status] ?? [String(status), 'The request failed.']
  const headers: Record<string, string> = {}
  if (retryAfterMs !== undefined) {
    headers['retry-after'] = String(Math.ceil(retryAfterMs / 1000))
    headers['retry-after-ms'] = String(retryAfterMs)
  }
  return gateway(status, code, message, headers)
}
