import { AppError, openAIErrorBody, toAppError } from '@sluice/errors'
import type { Logger } from '@sluice/telemetry'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { discardBody } from './discard-body.ts'

/** Answers in OpenAI's shape, whatever was thrown. */
export async function answerError(
  logger: Logger,
  thrown: FastifyError | AppError,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const error = thrown instanceof AppError ? thrown : fromFastify(thrown)
  if (error.status >= 500) {
    logger.error({ err: error, route: request.routeOptions.url, httpId: request.id }, 'request failed')
  }
  if (error.retryAfterMs !== undefined || error.status === 503) {
    const ms = Math.ceil(error.retryAfterMs ?? 1_000)
    // Whole seconds for everybody, and milliseconds for the openai SDKs, which prefer them.
    void reply.headers({ 'retry-after': String(Math.max(1, Math.ceil(ms / 1_000))), 'retry-after-ms': String(ms) })
  }
  if (error.code === 'unauthorized') void reply.header('www-authenticate', 'Bearer')
  await discardBody(request.raw)
  await reply.code(error.status).type('application/json').send(openAIErrorBody(error))
}

/** @param type what the route takes */
export const unsupportedMediaType = (type = 'application/json') =>
  new AppError('unsupported_media_type', `Send ${type}.`, { param: 'Content-Type' })

function fromFastify(error: FastifyError): AppError {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new AppError('message_too_large', 'The body is larger than this server takes.', { param: 'body' })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return unsupportedMediaType()
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return new AppError('invalid_json', error.message, { cause: error })
    default:
      return error.statusCode !== undefined && error.statusCode < 500
        ? new AppError('invalid_line', error.message, { cause: error, status: error.statusCode })
        : toAppError(error)
  }
}
