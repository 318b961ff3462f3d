import { appendFile, stat, truncate } from 'node:fs/promises'
import { defaultBatchSettings } from '../config.ts'
import type { BatchSettings } from '../config.ts'
import type { Deployment } from '../quotas/deployment.ts'
import type { Resource, TwinCore } from '../twin.ts'
import { answerLine, batchEndpoint, expiredLine } from './batch-line.ts'
import type { BatchEndpoint, LineResult } from './batch-line.ts'
import { isFinal } from './batch-record.ts'
import type { BatchRecord } from './batch-record.ts'
import { jsonLines } from './jsonl-lines.ts'
import type { JsonLine } from './jsonl-lines.ts'
import { validateBatch } from './validate-batch.ts'

// How long one turn may compute before other calls are served.
const sliceMs = 8

/**
 * One batch from validation to its end. `advance` does the work that the virtual clock allows by now and may be called
 * at any time; results are appended before the record that counts them is stored, and what a crash left beyond the
 * record is cut off, so that a restart neither loses nor repeats a line.
 */
export class BatchJob {
  readonly record: BatchRecord
  readonly #twin: TwinCore
  readonly #resource: Resource
  readonly #store: (record: BatchRecord) => void
  readonly #endpoint: BatchEndpoint
  #lines: AsyncGenerator<JsonLine, void, undefined> | undefined
  #running: Promise<void> | undefined
  #again = false
  #stopped = false

  constructor(record: BatchRecord, twin: TwinCore, resource: Resource, store: (record: BatchRecord) => void) {
    this.record = record
    this.#twin = twin
    this.#resource = resource
    this.#store = store
    this.#endpoint = batchEndpoint(record.endpoint) ?? '/chat/completions'
    const deployment = this.#deployment()
    if (deployment && !isFinal(record.status)) deployment.enqueuedTokens += record.enqueuedTokens
  }

  /** Catches up with the clock; calls that come meanwhile make it look once more. Never rejects. */
  advance(): Promise<void> {
    if (this.#running) {
      this.#again = true
      return this.#running
    }
    this.#running = this.#catchUp().finally(() => (this.#running = undefined))
    return this.#running
  }

  /** Asks for the end; what is done by now stays. False when the batch is already over or ending. */
  cancel(): boolean {
    const { record } = this
    if (record.status !== 'validating' && record.status !== 'in_progress') return false
    record.status = 'cancelling'
    record.cancellingAt = this.#twin.clock.now()
    this.#store(record)
    return true
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
    await this.#closeInput()
  }

  async #catchUp(): Promise<void> {
    try {
      do {
        this.#again = false
        while (!this.#stopped && (await this.#step()));
      } while (this.#again && !this.#stopped)
    } catch (error) {
      if (this.#stopped) return
      // The input or an output is gone from the disk: the batch cannot go on.
      const message = error instanceof Error ? error.message : String(error)
      this.record.errors = [{ code: 'server_error', message, line: null, param: null }]
      await this.#finish('failed', this.#twin.clock.now())
    }
  }

  /** Does the next thing that is due; false when nothing is. */
  async #step(): Promise<boolean> {
    const { record } = this
    const now = this.#twin.clock.now()
    const {
      validate_ms: validateMs,
      finalize_ms: finalizeMs,
      cancel_ms: cancelMs,
      lines_per_minute: rate,
    } = this.#pace()
    switch (record.status) {
      case 'validating':
        if (now < record.createdAt + validateMs) return false
        return this.#validate(record.createdAt + validateMs)
      case 'in_progress':
        if (record.completed + record.failed < this.#allowed(now, rate)) return this.#work(this.#allowed(now, rate))
        if (record.completed + record.failed === record.total) {
          record.finalizingAt = Math.min(now, (record.inProgressAt ?? now) + (record.total / rate) * 60_000)
          record.status = 'finalizing'
          this.#store(record)
          return true
        }
        if (now < record.expiresAt) return false
        await this.#expireRest()
        return this.#finish('expired', record.expiresAt)
      case 'finalizing':
        if (now < (record.finalizingAt ?? now) + finalizeMs) return false
        return this.#finish('completed', (record.finalizingAt ?? now) + finalizeMs)
      case 'cancelling':
        if (record.completed + record.failed < this.#allowed(now, rate)) return this.#work(this.#allowed(now, rate))
        if (now < (record.cancellingAt ?? now) + cancelMs) return false
        return this.#finish('cancelled', (record.cancellingAt ?? now) + cancelMs)
      default:
        return false
    }
  }

  /** Lines that may be done by a time: the deployment's rate since the start, until the end or the cancellation. */
  #allowed(now: number, linesPerMinute: number): number {
    const { record } = this
    if (record.inProgressAt === undefined) return 0
    const until = Math.min(now, record.expiresAt, record.cancellingAt ?? Infinity)
    return Math.min(record.total, Math.floor(((until - record.inProgressAt) / 60_000) * linesPerMinute))
  }

  /** The deployment's pace; until validation has read which one it is, that of the resource's first batch deployment. */
  #pace(): BatchSettings {
    const deployments = [...this.#resource.deployments.values()]
    const deployment = this.#deployment() ?? deployments.find(({ settings }) => settings.kind === 'batch')
    return deployment?.settings.batch ?? defaultBatchSettings
  }

  #deployment(): Deployment | undefined {
    return this.record.deployment === undefined ? undefined : this.#resource.deployments.get(this.record.deployment)
  }

  async #validate(at: number): Promise<boolean> {
    const { record } = this
    const { files } = this.#twin
    const input = files.get(record.resource, record.inputFileId)
    if (!input) throw new Error(`The input file ${record.inputFileId} no longer exists.`)
    const content = files.read(input.id)
    const result = await validateBatch(this.#resource, this.#endpoint, input.bytes, jsonLines(content)).finally(() =>
      content.destroy(),
    )
    if (Array.isArray(result)) {
      record.errors = result
      return this.#finish('failed', at)
    }
    record.deployment = result.deployment.settings.name
    record.total = result.total
    record.enqueuedTokens = result.enqueuedTokens
    result.deployment.enqueuedTokens += result.enqueuedTokens
    record.inProgressAt = at
    // A cancellation that came while the input was read stands.
    if (record.status === 'validating') record.status = 'in_progress'
    this.#store(record)
    return true
  }

  async #nextLine(): Promise<JsonLine | undefined> {
    const { record } = this
    if (!this.#lines) {
      await this.#cutBack()
      this.#lines = jsonLines(this.#twin.files.read(record.inputFileId, record.inputOffset), record.inputOffset)
    }
    for (;;) {
      const next = await this.#lines.next()
      if (next.done === true) return undefined
      if (next.value.text.trim() !== '') return next.value
    }
  }

  /** Results beyond what the record counts belong to lines that will be done again. */
  async #cutBack(): Promise<void> {
    for (const { id, bytes } of [this.record.output, this.record.error]) {
      const path = this.#twin.files.pathOf(id)
      await appendFile(path, '')
      if ((await stat(path)).size > bytes) await truncate(path, bytes)
    }
  }

  /** Answers lines for one slice of time, then stores them and how far they go. */
  async #work(allowed: number): Promise<boolean> {
    const { record } = this
    const deployment = this.#deployment()
    if (!deployment) throw new Error(`The deployment ${record.deployment ?? ''} no longer exists.`)
    const results: LineResult[] = []
    let offset = record.inputOffset
    for (
      const until = performance.now() + sliceMs;
      performance.now() < until && record.completed + record.failed + results.length < allowed;
    ) {
      const line = await this.#nextLine()
      if (!line) break
      results.push(answerLine(this.#twin, deployment, this.#endpoint, line.text))
      offset = line.end
    }
    if (results.length === 0) throw new Error('The input file ended early.')
    await this.#append(results, offset, deployment)
    await new Promise((resolve) => setImmediate(resolve))
    return true
  }

  async #append(results: readonly LineResult[], offset: number, deployment: Deployment): Promise<void> {
    const { record } = this
    // Azure promises no order, so there is none: callers must match results by custom_id.
    const shuffled = results.toReversed()
    for (const [file, ok] of [
      [record.output, true],
      [record.error, false],
    ] as const) {
      const text = shuffled
        .filter((result) => result.ok === ok)
        .map((result) => `${result.text}\n`)
        .join('')
      if (text !== '') await appendFile(this.#twin.files.pathOf(file.id), text)
      file.bytes += Buffer.byteLength(text)
    }
    for (const { ok, usage } of results) {
      if (ok) record.completed++
      else record.failed++
      record.usage.inputTokens += usage.promptTokens
      record.usage.cachedTokens += usage.cachedTokens
      record.usage.outputTokens += usage.completionTokens
      record.usage.reasoningTokens += usage.reasoningTokens
      deployment.countBatchLine(usage)
    }
    record.inputOffset = offset
    this.#store(record)
  }

  async #expireRest(): Promise<void> {
    const { record } = this
    let text = ''
    for (let line = await this.#nextLine(); line; line = await this.#nextLine()) {
      text += `${expiredLine(line.text)}\n`
      record.failed++
      record.inputOffset = line.end
      if (text.length < 1 << 20) continue
      await this.#appendError(text)
      text = ''
    }
    await this.#appendError(text)
  }

  async #appendError(text: string): Promise<void> {
    await appendFile(this.#twin.files.pathOf(this.record.error.id), text)
    this.record.error.bytes += Buffer.byteLength(text)
    this.#store(this.record)
  }

  async #finish(status: 'completed' | 'failed' | 'expired' | 'cancelled', at: number): Promise<true> {
    const { record } = this
    const { files } = this.#twin
    await this.#closeInput()
    const deployment = this.#deployment()
    if (deployment) deployment.enqueuedTokens -= record.enqueuedTokens
    if (status !== 'failed' && deployment) {
      await this.#cutBack()
      files.register(record.resource, record.output, `${record.id}_output.jsonl`, 'batch_output')
      files.register(record.resource, record.error, `${record.id}_error.jsonl`, 'batch_output')
    }
    record.status = status
    record[`${status}At`] = at
    this.#store(record)
    return true
  }

  async #closeInput(): Promise<void> {
    await this.#lines?.return()
    this.#lines = undefined
  }
}
