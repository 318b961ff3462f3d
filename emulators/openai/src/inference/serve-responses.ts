import { AzureError, invalidRequest } from '../http/azure-error.ts'
import type { Deployment } from '../quotas/deployment.ts'
import { streamEvents } from '../http/event-stream.ts'
import type { Exchange } from '../http/exchange.ts'
import { textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { responseEvents } from './response-events.ts'
import { responseObject, outputItems } from './response-object.ts'
import { parseResponsesRequest } from './responses-request.ts'
import { requireOperation } from '../http/request-fields.ts'
import { answerCall, tokenDelayMs } from './serve-chat.ts'

const responseNotFound = (id: string): AzureError =>
  new AzureError(404, {
    error: { message: `Response with id '${id}' not found.`, type: 'invalid_request_error', param: null, code: null },
  })

export async function serveResponses(exchange: Exchange, deployment: Deployment, body: Json): Promise<void> {
  await exchange.meet(deployment)
  requireOperation(deployment.settings, 'responses')
  const { twin, resource, record } = exchange
  const previousId = textOf(body['previous_response_id'])
  const previous = previousId === undefined ? undefined : twin.responses.get(resource.settings.name, previousId)
  if (previousId !== undefined && !previous) {
    throw invalidRequest(
      `Previous response with id '${previousId}' not found.`,
      'previous_response_id',
      'previous_response_not_found',
    )
  }
  const request = parseResponsesRequest(body, deployment.settings, previous?.conversation ?? [], twin.seed)
  const run = answerCall(exchange, deployment, request.generation)
  const identity = {
    id: `resp_${record.request_id.replaceAll('-', '')}`,
    created: Math.floor(twin.clock.now() / 1000),
    model: record.model ?? deployment.settings.model,
  }
  const response = responseObject(identity, request, run)
  if (request.store) {
    const conversation = [...request.conversation, ...outputItems(identity, request, run)]
    twin.responses.put(resource.settings.name, identity.id, { response, conversation })
  }
  if (request.stream) return streamEvents(exchange, responseEvents(identity, request, run), run)
  const delayMs = tokenDelayMs(run)
  if (delayMs > 0) await exchange.delay(delayMs)
  return exchange.json(response)
}

/** GET and DELETE of a stored response, and its input items. */
export async function serveStoredResponse(exchange: Exchange, id: string, part: string | undefined): Promise<void> {
  await exchange.meet(undefined)
  const { twin, resource, req } = exchange
  const stored = twin.responses.get(resource.settings.name, id)
  if (!stored) throw responseNotFound(id)
  if (req.method === 'DELETE') {
    twin.responses.delete(resource.settings.name, id)
    return exchange.json({ id, object: 'response', deleted: true })
  }
  if (part !== 'input_items') return exchange.json(stored.response)
  const data = stored.conversation.map((item, index) => ({ id: `item_${index}`, ...(item as object) }))
  return exchange.json({ object: 'list', data, first_id: null, last_id: null, has_more: false })
}
