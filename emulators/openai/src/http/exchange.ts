import type { IncomingMessage, ServerResponse } from 'node:http'
import { AzureError, rateLimited, serviceError } from './azure-error.ts'
import type { CallRecord } from '../control/call-log.ts'
import { beginRecord } from '../control/call-record.ts'
import type { ActualTokens, Deployment, Estimate } from '../quotas/deployment.ts'
import type { Fault, Operation } from '../control/faults.ts'
import type { Resource, Twin } from '../twin.ts'

/** Thrown to end a handler whose client is gone or whose connection a fault has cut; nothing is sent for it. */
export class ExchangeClosed extends Error {
  override name = 'ExchangeClosed'
}

const gatewayNames: Partial<Record<Operation, string>> = {
  chat: 'ChatCompletions_Create',
  completions: 'Completions_Create',
  responses: 'Responses_Create',
  embeddings: 'Embeddings_Create',
  transcriptions: 'Transcriptions_Create',
  speech: 'Speech_Create',
}

const common = [
  'strict-transport-security',
  'max-age=31536000; includeSubDomains; preload',
  'x-content-type-options',
  'nosniff',
]

/** One HTTP call: its identity and log record, the faults that hit it, and the only way its answer is written. */
export class Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly twin: Twin
  readonly resource: Resource
  readonly operation: Operation
  readonly apiVersion: string
  readonly record: CallRecord
  deployment: Deployment | undefined
  closed = false
  #cut: Fault | undefined
  #slow: Fault | undefined
  #eventsSent = 0
  #wake: (() => void) | undefined
  #settle: { estimate: Estimate; actual: ActualTokens | undefined } | undefined
  readonly #startedAt = performance.now()

  constructor(call: {
    req: IncomingMessage
    res: ServerResponse
    twin: Twin
    resource: Resource
    operation: Operation
    apiVersion: string
  }) {
    this.req = call.req
    this.res = call.res
    this.twin = call.twin
    this.resource = call.resource
    this.operation = call.operation
    this.apiVersion = call.apiVersion
    this.record = beginRecord(call.twin, call.req, call.resource, call.operation)
    call.twin.open.add(this)
    call.res.once('close', () => this.#onClose())
  }

  /** Names the deployment and lets the faults that match it happen. May wait, answer an error or cut the connection. */
  async meet(deployment: Deployment | undefined): Promise<void> {
    this.deployment = deployment
    if (deployment) {
      this.record.deployment = deployment.settings.name
      if (deployment.evicted) this.drop('evicted')
    }
    const { twin, record } = this
    for (const fault of twin.faults.hit(record.resource, deployment?.settings.name, this.operation)) {
      record.fault = fault.id
      if (fault.type === 'delay') await this.delay(fault.ms ?? 0)
      else if (fault.type === 'hang') await this.untilClosed()
      else if (fault.type === 'slow') this.#slow = fault
      else if (fault.type === 'drop' && (fault.at ?? 'headers') !== 'headers') this.#cut = fault
      else if (fault.type === 'drop') this.drop(fault.id)
      else if (fault.type === 'status') throw faultError(fault)
    }
  }

  /** @throws AzureError 429 when a quota refuses the estimate; else the call is in flight until it closes. */
  admit(deployment: Deployment, estimate: Estimate): void {
    this.record.estimated_tokens = estimate.promptTokens + estimate.outputTokens
    const refusal = deployment.admit(estimate)
    if (refusal) {
      const operation = gatewayNames[this.operation] ?? this.operation
      throw rateLimited({ operation, apiVersion: this.apiVersion, ...refusal })
    }
    this.#settle = { estimate, actual: undefined }
  }

  /** Notes what the call used; it counts when the call ends, however it ends. */
  use(actual: ActualTokens): void {
    if (this.#settle) this.#settle.actual = actual
    this.record.prompt_tokens = actual.promptTokens
    this.record.cached_tokens = actual.cachedTokens
    this.record.completion_tokens = actual.completionTokens
  }

  /** Real milliseconds. @throws ExchangeClosed as soon as the client leaves. */
  async delay(ms: number): Promise<void> {
    if (!this.closed) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = undefined
    }
    if (this.closed) throw new ExchangeClosed()
  }

  async untilClosed(): Promise<never> {
    if (!this.closed) await new Promise<void>((resolve) => (this.#wake = resolve))
    throw new ExchangeClosed()
  }

  /** Cuts the connection from outside; the handler notices at its next step. */
  cut(why: string): void {
    this.record.outcome = 'dropped'
    this.record.fault = why
    this.req.socket.destroy()
  }

  /** Cuts the connection without an answer and ends the handler. */
  drop(why: string): never {
    this.cut(why)
    throw new ExchangeClosed()
  }

  async json(body: object, status = 200): Promise<void> {
    await this.send(JSON.stringify(body), 'application/json', status)
  }

  /** Writes a whole answer, slowly or only half of it when a fault says so. */
  async send(body: string | Buffer, contentType: string, status = 200, extra: readonly string[] = []): Promise<void> {
    if (this.closed) throw new ExchangeClosed()
    this.record.status = status
    const headers = this.#headers(contentType)
    headers.push('content-length', String(Buffer.byteLength(body)), ...extra)
    this.res.writeHead(status, headers)
    if (this.#cut) {
      const whole = Buffer.from(body)
      this.res.write(whole.subarray(0, Math.floor(whole.byteLength / 2)))
      this.record.outcome = 'dropped'
      this.req.socket.destroySoon()
      return
    }
    if (this.#slow) await this.#trickle(Buffer.from(body), this.#slow.bytes_per_second ?? 1)
    // A text leaves in one write together with its headers; a buffer would take two.
    else this.res.end(body)
  }

  startStream(contentType: string, extra: readonly string[] = []): void {
    if (this.closed) throw new ExchangeClosed()
    this.record.status = 200
    this.res.writeHead(200, [...this.#headers(contentType), ...extra])
    this.res.flushHeaders()
  }

  /** Writes part of a stream and waits while the client does not read. */
  async write(part: string | Buffer, events = 1): Promise<void> {
    if (this.closed) throw new ExchangeClosed()
    if (this.#cut && this.#eventsSent + events > (this.#cut.after_events ?? 1)) {
      this.record.outcome = 'dropped'
      // What was written before the cut still arrives: destroySoon flushes first.
      this.req.socket.destroySoon()
      throw new ExchangeClosed()
    }
    this.#eventsSent += events
    if (this.#slow) return this.#trickle(Buffer.from(part), this.#slow.bytes_per_second ?? 1, false)
    if (this.res.write(part)) return
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      this.res.once('drain', resolve)
    })
  }

  /** True when a fault wants this stream's events one by one. */
  get eventByEvent(): boolean {
    return this.#cut !== undefined || this.#slow !== undefined
  }

  end(): void {
    this.res.end()
  }

  async fail(error: unknown): Promise<void> {
    if (error instanceof ExchangeClosed || this.closed) return
    const known = error instanceof AzureError ? error : serviceError(500)
    if (known !== error)
      process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    if (this.res.headersSent) {
      this.record.outcome = 'failed'
      this.req.socket.destroySoon()
      return
    }
    this.record.outcome = known.status === 429 ? 'refused' : 'failed'
    if (this.deployment && known.status !== 429) this.deployment.failedCalls++
    // A fault that cuts or slows an answer applies to answers, not to the error that another fault made of this call.
    this.#cut = undefined
    await this.send(JSON.stringify(known.body), 'application/json', known.status, Object.entries(known.headers).flat())
  }

  #headers(contentType: string): string[] {
    const { record, deployment, resource } = this
    const headers = [
      'content-type',
      contentType,
      'apim-request-id',
      record.request_id,
      'x-request-id',
      record.request_id,
      ...common,
    ]
    headers.push('x-ms-region', resource.settings.region)
    if (record.client_request_id !== null) headers.push('x-ms-client-request-id', record.client_request_id)
    if (deployment) {
      headers.push('x-ms-deployment-name', deployment.settings.name, 'azureml-model-session', deployment.modelSession)
      headers.push(...deployment.quotaHeaders())
    }
    return headers
  }

  async #trickle(body: Buffer, bytesPerSecond: number, last = true): Promise<void> {
    const chunk = Math.max(1, Math.ceil(bytesPerSecond / 20))
    for (let at = 0; at < body.byteLength; at += chunk) {
      this.res.write(body.subarray(at, at + chunk))
      await this.delay(50)
    }
    if (last) this.res.end()
  }

  #onClose(): void {
    this.closed = true
    this.twin.open.delete(this)
    const { record, res } = this
    if (record.outcome === 'open') record.outcome = res.writableFinished ? 'ok' : 'aborted'
    record.ms = Math.round((performance.now() - this.#startedAt) * 1000) / 1000
    if (this.#settle) this.deployment?.settle(this.#settle.estimate, this.#settle.actual)
    this.#wake?.()
  }
}

function faultError(fault: Fault): AzureError {
  const status = fault.status ?? 500
  const standard = serviceError(status, fault.retry_after_ms)
  const body = typeof fault.body === 'object' && fault.body !== null ? fault.body : standard.body
  return new AzureError(status, body, { ...standard.headers, ...fault.headers })
}
