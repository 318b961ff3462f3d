import { resourceNotFound } from '../http/azure-error.ts'
import type { Exchange } from '../http/exchange.ts'
import { listPage } from '../files/list-page.ts'
import { readJson } from '../http/request-body.ts'
import { showBatch } from './batch-record.ts'
import type { BatchRecord } from './batch-record.ts'

// Rows carry milliseconds; a page is cut by the seconds that it shows.
const listed = (record: BatchRecord) => ({ ...record, created_at: Math.floor(record.createdAt / 1000) })

/** The four operations on batches: create, list, retrieve, cancel. A batch of another resource does not exist. */
export async function serveBatches(exchange: Exchange, path: readonly string[], query: URLSearchParams): Promise<void> {
  await exchange.meet(undefined)
  const { twin, resource, req } = exchange
  const [, id, action] = path
  if (id === undefined && req.method === 'POST')
    return exchange.json(showBatch(twin.batches.create(resource, await readJson(req))))
  if (id === undefined && req.method === 'GET')
    return exchange.json(listPage(twin.batches.list(resource).map(listed), query, showBatch))
  if (id !== undefined && action === undefined && req.method === 'GET')
    return exchange.json(showBatch(twin.batches.get(resource, id)))
  if (id !== undefined && action === 'cancel' && req.method === 'POST') {
    req.resume()
    return exchange.json(showBatch(twin.batches.cancel(resource, id)))
  }
  throw resourceNotFound()
}
