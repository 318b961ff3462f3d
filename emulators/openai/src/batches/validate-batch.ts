import type { Deployment } from '../quotas/deployment.ts'
import { isObject, textOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import type { Resource } from '../twin.ts'
import { batchEndpoint, enqueuedTokensOf } from './batch-line.ts'
import type { BatchEndpoint } from './batch-line.ts'
import type { BatchProblem } from './batch-record.ts'
import type { JsonLine } from './jsonl-lines.ts'

export interface ValidBatch {
  deployment: Deployment
  total: number
  enqueuedTokens: number
}

const maxProblems = 50
// One turn of the event loop serves other calls in between.
const linesPerTurn = 500

const problem = (
  code: string,
  message: string,
  line: number | null = null,
  param: string | null = null,
): BatchProblem => ({ code, message, line, param })

function parseLine(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Checks lines one after the other; remembers what must agree between them. */
class BatchValidator {
  readonly problems: BatchProblem[] = []
  readonly #resource: Resource
  readonly #endpoint: BatchEndpoint
  readonly #ids = new Set<string>()
  #model: string | undefined
  deployment: Deployment | undefined
  total = 0
  enqueuedTokens = 0

  constructor(resource: Resource, endpoint: BatchEndpoint) {
    this.#resource = resource
    this.#endpoint = endpoint
  }

  check(text: string, number: number): void {
    this.total++
    const line = parseLine(text)
    if (!line) return this.#found('invalid_json_line', 'This line is not parseable as valid JSON.', number)
    const id = textOf(line['custom_id'])
    if (id === undefined || id === '')
      return this.#found('invalid_request', 'Missing required parameter: custom_id.', number, 'custom_id')
    if (this.#ids.has(id))
      return this.#found(
        'duplicate_custom_id',
        `The custom_id '${id}' is a duplicate of the custom_id of another request.`,
        number,
        'custom_id',
      )
    this.#ids.add(id)
    if (line['method'] !== 'POST')
      return this.#found('invalid_request', "Invalid value for method: expected 'POST'.", number, 'method')
    if (batchEndpoint(line['url']) !== this.#endpoint) {
      return this.#found(
        'url_mismatch',
        'The URL provided for this request does not match the prefix for the API endpoint of the batch.',
        number,
        'url',
      )
    }
    const body = line['body']
    if (!isObject(body)) return this.#found('invalid_request', 'Missing required parameter: body.', number, 'body')
    this.#checkModel(textOf(body['model']), number)
    if (this.problems.length === 0) this.enqueuedTokens += enqueuedTokensOf(this.#endpoint, body)
  }

  #checkModel(model: string | undefined, number: number): void {
    if (model === undefined)
      return this.#found('invalid_request', 'Missing required parameter: body.model.', number, 'body.model')
    if (this.#model !== undefined) {
      if (model !== this.#model)
        this.#found(
          'model_mismatch',
          `The provided model '${model}' does not match the rest of the file, which names '${this.#model}'.`,
          number,
          'body.model',
        )
      return
    }
    this.#model = model
    this.deployment = this.#resource.deployments.get(model)
    if (!this.deployment)
      this.#found(
        'model_not_found',
        `The provided model '${model}' is not a deployment of this resource.`,
        number,
        'body.model',
      )
    else if (this.deployment.settings.kind !== 'batch') {
      this.#found(
        'invalid_request',
        `The deployment '${model}' does not have the SKU globalbatch or datazonebatch that batches need.`,
        number,
        'body.model',
      )
    }
  }

  #found(code: string, message: string, line: number, param: string | null = null): void {
    if (this.problems.length < maxProblems) this.problems.push(problem(code, message, line, param))
  }
}

/**
 * Reads a batch's whole input, as the service does before it starts: every line must be JSON with its own custom_id,
 * the batch's url, and one and the same batch deployment; the input must fit the deployment's lines and what is left of
 * its enqueued tokens. Returns the problems, at most 50, or what the batch needs.
 */
export async function validateBatch(
  resource: Resource,
  endpoint: BatchEndpoint,
  bytes: number,
  lines: AsyncIterable<JsonLine>,
): Promise<ValidBatch | BatchProblem[]> {
  if (bytes === 0)
    return [
      problem('empty_file', 'The input file is empty. Please ensure that the batch contains at least one request.'),
    ]
  const validator = new BatchValidator(resource, endpoint)
  let number = 0
  for await (const { text } of lines) {
    number++
    if (number % linesPerTurn === 0) await new Promise((resolve) => setImmediate(resolve))
    if (text.trim() !== '') validator.check(text, number)
  }
  const { problems, deployment, total, enqueuedTokens } = validator
  if (total === 0)
    return [
      problem('empty_batch', 'The batch contains no requests. Please ensure that the input file has at least one.'),
    ]
  if (problems.length > 0 || !deployment) return problems
  const { max_lines: maxLines } = deployment.settings.batch
  if (total > maxLines)
    return [problem('too_many_tasks', `The batch has ${total} requests, which exceeds the maximum of ${maxLines}.`)]
  const limit = deployment.settings.enqueued_tokens
  if (limit !== undefined && deployment.enqueuedTokens + enqueuedTokens > limit) {
    const message = `Enqueued token limit reached for ${deployment.settings.name}. Limit: ${limit} enqueued tokens, requested: ${enqueuedTokens}, in use: ${deployment.enqueuedTokens}. Please try again once some in_progress batches have been completed.`
    return [problem('token_limit_exceeded', message)]
  }
  return { deployment, total, enqueuedTokens }
}
