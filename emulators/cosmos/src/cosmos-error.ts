/** The `code` member of a Cosmos error body, one per HTTP status. */
const codeOfStatus = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  410: 'Gone',
  412: 'PreconditionFailed',
  413: 'RequestEntityTooLarge',
  424: 'FailedDependency',
  429: '429',
  500: 'InternalServerError',
  501: 'NotImplemented',
  503: 'ServiceUnavailable',
} as const

type ErrorStatus = keyof typeof codeOfStatus

export const substatus = {
  partitionKeyMismatch: 1001,
  containerMissing: 1003,
  requestRateTooLarge: 3200,
} as const

interface ErrorDetails {
  substatus?: number
  headers?: Record<string, string>
  /** Syntax errors carry their own JSON document instead of the usual `{"Errors":[…]}`. */
  document?: string
}

/** An error answer of the data plane. The message is one sentence; `body` wraps it the way the gateway does. */
export class CosmosError extends Error {
  readonly status: ErrorStatus
  readonly substatus: number
  readonly headers: Record<string, string>
  readonly #document: string

  constructor(status: ErrorStatus, message: string, details: ErrorDetails = {}) {
    super(message)
    this.name = 'CosmosError'
    this.status = status
    this.substatus = details.substatus ?? 0
    this.headers = details.headers ?? {}
    this.#document = details.document ?? JSON.stringify({ Errors: [message] })
  }

  /** `{"code":…,"message":"Message: {…}\r\nActivityId: …"}`; clients match on the text inside. */
  body(activityId: string, uri: string): string {
    const message = `Message: ${this.#document}\r\nActivityId: ${activityId}, Request URI: ${uri}, SDK: sluice-cosmos-emulator`
    return JSON.stringify({ code: codeOfStatus[this.status], message })
  }
}

export const badRequest = (message: string, details: ErrorDetails = {}): CosmosError =>
  new CosmosError(400, message, details)

export const notFound = (
  message = 'Resource Not Found. Learn more: https://aka.ms/cosmosdb-tsg-not-found',
): CosmosError => new CosmosError(404, message)

export const containerNotFound = (): CosmosError =>
  new CosmosError(404, 'Owner resource does not exist', { substatus: substatus.containerMissing })

export const conflict = (message = 'Resource with specified id or name already exists.'): CosmosError =>
  new CosmosError(409, message)

export const preconditionFailed = (
  message = 'One of the specified pre-condition is not met. Learn more: https://aka.ms/CosmosDB/sql/errors/precondition-failed',
): CosmosError => new CosmosError(412, message)

export const tooLarge = (): CosmosError => new CosmosError(413, 'Request size is too large')
