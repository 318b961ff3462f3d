import { invalidLine, nestsTooDeeply, tooDeepMessage } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { unsupportedMediaType } from './answer-error.ts'

/** The text of a JSON body. @throws AppError `unsupported_media_type` when there is none of that type. */
export function textBody(request: FastifyRequest): string {
  if (typeof request.body !== 'string') throw unsupportedMediaType()
  return request.body
}

function jsonValue(request: FastifyRequest): unknown {
  const text = textBody(request)
  if (nestsTooDeeply(text)) throw new AppError('invalid_json', tooDeepMessage, { param: 'body' })
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError('invalid_json', 'The body is not valid JSON.', { cause })
  }
}

/** A JSON body that is an object. @throws AppError `invalid_json`, `invalid_line` */
export function jsonBody(request: FastifyRequest): Record<string, unknown> {
  const value = jsonValue(request)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new AppError('invalid_line', 'The body is a JSON object.')
}

/** A JSON body as its schema reads it. @throws AppError `invalid_json`, or `invalid_line` naming the field. */
export function readBody<S extends z.ZodType>(schema: S, request: FastifyRequest): z.infer<S> {
  return parse(schema, jsonValue(request))
}

/** The query as its schema reads it. @throws AppError `invalid_line` naming the parameter. */
export function readQuery<S extends z.ZodType>(schema: S, request: FastifyRequest): z.infer<S> {
  return parse(schema, request.query)
}

function parse<S extends z.ZodType>(schema: S, value: unknown): z.infer<S> {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw invalidLine(parsed.error)
  return parsed.data
}
