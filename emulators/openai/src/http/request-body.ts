import type { IncomingMessage } from 'node:http'
import { invalidRequest, payloadTooLarge, unsupportedMediaType } from './azure-error.ts'
import { ExchangeClosed } from './exchange.ts'
import { isObject } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'

const maxJsonBytes = 32 * 1024 * 1024

/** @throws AzureError 413 past the limit; ExchangeClosed when the client leaves before the end. */
function readBody(req: IncomingMessage, limit = maxJsonBytes): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (Number(req.headers['content-length'] ?? 0) > limit) {
      req.resume()
      reject(payloadTooLarge(limit))
      return
    }
    const chunks: Buffer[] = []
    let size = 0
    req.on('data', (chunk: Buffer) => {
      size += chunk.byteLength
      if (size <= limit) chunks.push(chunk)
      else {
        chunks.length = 0
        reject(payloadTooLarge(limit))
      }
    })
    req.on('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)))
    req.on('error', () => reject(new ExchangeClosed()))
    req.on('close', () => {
      if (!req.complete) reject(new ExchangeClosed())
    })
  })
}

const notJson = () =>
  invalidRequest(
    'We could not parse the JSON body of your request. The API expects a JSON payload, but what was sent was not valid JSON.',
  )

/** @throws AzureError 400 or 415 when the body is not JSON. */
export async function readJsonValue(req: IncomingMessage): Promise<unknown> {
  const type = req.headers['content-type']
  if (type !== undefined && !type.includes('json')) {
    req.resume()
    throw unsupportedMediaType('application/json')
  }
  const body = await readBody(req)
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    throw notJson()
  }
}

/** @throws AzureError 400 or 415 when the body is not a JSON object. */
export async function readJson(req: IncomingMessage): Promise<Json> {
  const value = await readJsonValue(req)
  if (!isObject(value)) throw notJson()
  return value
}
