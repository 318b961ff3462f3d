import type { IncomingHttpHeaders } from 'node:http'
import { badRequest } from '../cosmos-error.ts'
import { isJsonObject, type JsonObject } from '../json.ts'
import type { ResourcePath } from './resource-path.ts'

export interface CosmosRequest {
  method: string
  path: ResourcePath
  headers: IncomingHttpHeaders
  body: string
  nowMs: number
}

export interface CosmosReply {
  status: number
  headers: Record<string, string>
  body: string
  /** Request units. */
  charge: number
}

export const header = (request: CosmosRequest, name: string): string | undefined => {
  const value = request.headers[name]
  return typeof value === 'string' ? value : undefined
}

export const isTrue = (request: CosmosRequest, name: string): boolean => header(request, name)?.toLowerCase() === 'true'

/** The body as a JSON object; throws 400. */
export const jsonBody = (request: CosmosRequest): JsonObject => {
  let value: unknown
  try {
    value = JSON.parse(request.body)
  } catch {
    throw badRequest('The request payload is invalid. Ensure to provide a valid request payload.')
  }
  if (!isJsonObject(value)) throw badRequest('The request payload is invalid: it is not a JSON object.')
  return value
}
