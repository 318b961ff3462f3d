import { AzureError, invalidRequest, notFound } from '../http/azure-error.ts'
import { newId } from '../files/file-store.ts'
import type { TwinDatabase } from '../files/twin-database.ts'
import { isObject } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { missing } from '../http/request-fields.ts'
import type { Resource, TwinCore } from '../twin.ts'
import { BatchJob } from './batch-job.ts'
import { batchEndpoint } from './batch-line.ts'
import { isFinal } from './batch-record.ts'
import type { BatchRecord } from './batch-record.ts'

const windowMs = 24 * 3_600_000

/** All batches of all resources; works on them as the virtual clock goes on. */
export class BatchQueue {
  readonly #twin: TwinCore
  readonly #database: TwinDatabase
  readonly #jobs = new Map<string, BatchJob>()

  constructor(twin: TwinCore, database: TwinDatabase) {
    this.#twin = twin
    this.#database = database
    const records = database.all('batch') as BatchRecord[]
    for (const record of records.sort((left, right) => left.createdAt - right.createdAt)) {
      const resource = twin.resources.get(record.resource)
      if (resource) this.#jobs.set(record.id, this.#job(record, resource))
    }
  }

  /** @throws AzureError 400 for a request that the service refuses before it creates a batch. */
  create(resource: Resource, body: Json): BatchRecord {
    const { input_file_id: inputFileId, endpoint, completion_window: completionWindow, metadata } = body
    if (typeof inputFileId !== 'string') throw missing('input_file_id')
    if (typeof endpoint !== 'string') throw missing('endpoint')
    if (completionWindow === undefined) throw missing('completion_window')
    if (completionWindow !== '24h')
      throw invalidRequest(
        `Invalid value: ${JSON.stringify(completionWindow)}. Value must be "24h".`,
        'completion_window',
        'invalid_value',
      )
    if (batchEndpoint(endpoint) === undefined)
      throw invalidRequest(
        `Invalid value: '${endpoint}'. Supported values are: '/chat/completions', '/responses' and '/embeddings'.`,
        'endpoint',
        'invalid_value',
      )
    const input = this.#twin.files.get(resource.settings.name, inputFileId)
    if (!input) throw invalidRequest(`File '${inputFileId}' not found.`, 'input_file_id', 'invalid_value')
    if (input.purpose !== 'batch')
      throw invalidRequest(
        `File '${inputFileId}' has the purpose '${input.purpose}', expected 'batch'.`,
        'input_file_id',
        'invalid_value',
      )
    const now = this.#twin.clock.now()
    const record: BatchRecord = {
      resource: resource.settings.name,
      id: newId('batch_'),
      endpoint,
      inputFileId,
      completionWindow,
      metadata: isObject(metadata) ? metadata : null,
      status: 'validating',
      createdAt: now,
      expiresAt: now + windowMs,
      errors: [],
      deployment: undefined,
      total: 0,
      completed: 0,
      failed: 0,
      enqueuedTokens: 0,
      inputOffset: 0,
      output: { id: newId('file-'), bytes: 0 },
      error: { id: newId('file-'), bytes: 0 },
      usage: { inputTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 },
    }
    this.#database.put('batch', record.id, record)
    this.#jobs.set(record.id, this.#job(record, resource))
    return record
  }

  /** @throws AzureError 404 when the resource has no such batch. */
  get(resource: Resource, id: string): BatchRecord {
    return this.#find(resource, id).record
  }

  list(resource: Resource): BatchRecord[] {
    return [...this.#jobs.values()]
      .map((job) => job.record)
      .filter((record) => record.resource === resource.settings.name)
  }

  /** @throws AzureError 404 for an unknown batch, 409 for one that is over. */
  cancel(resource: Resource, id: string): BatchRecord {
    const job = this.#find(resource, id)
    if (!job.cancel() && job.record.status !== 'cancelling') {
      const message = `Cannot cancel a batch with status '${job.record.status}'.`
      throw new AzureError(409, { error: { message, type: 'invalid_request_error', param: null, code: null } })
    }
    void job.advance()
    return job.record
  }

  /** Starts what has become due. */
  runDue(): void {
    for (const job of this.#jobs.values()) if (!isFinal(job.record.status)) void job.advance()
  }

  /** Resolves when every batch has done what the clock allows by now. */
  async settle(): Promise<void> {
    const open = [...this.#jobs.values()].filter((job) => !isFinal(job.record.status))
    // Twice: a job that was just ending its turn when the clock moved has not looked at the new time.
    for (let turn = 0; turn < 2; turn++) await Promise.all(open.map((job) => job.advance()))
  }

  async clear(): Promise<void> {
    const jobs = [...this.#jobs.values()]
    this.#jobs.clear()
    await Promise.all(jobs.map((job) => job.stop()))
    this.#database.clear('batch')
  }

  async close(): Promise<void> {
    await Promise.all([...this.#jobs.values()].map((job) => job.stop()))
  }

  #job(record: BatchRecord, resource: Resource): BatchJob {
    return new BatchJob(record, this.#twin, resource, (changed) => this.#database.put('batch', changed.id, changed))
  }

  #find(resource: Resource, id: string): BatchJob {
    const job = this.#jobs.get(id)
    if (job?.record.resource !== resource.settings.name) throw notFound(`No batch found with id '${id}'.`)
    return job
  }
}
