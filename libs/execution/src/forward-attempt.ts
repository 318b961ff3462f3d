import type { Deployment, DeploymentUrl, Usage } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import {
  connectionFailure,
  type ForwardController,
  type ForwardEvents,
  refusal,
  streamFailure,
  usageInTail,
} from '@sluice/models'
import type { Clock } from '@sluice/resilience'
import { type AnswerHeaders, contentLengthOf, contentTypeOf } from './answer-headers.ts'
import type { AnswerTurns } from './answer-turns.ts'
import type { WholeAnswer } from './forward-cache.ts'
import { errorEvent } from './forward-error-event.ts'
import { ForwardStream } from './forward-stream.ts'
import type { ForwardHead, ForwardSink } from './forward-types.ts'
import type { Watched } from './forward-watch.ts'

export type AttemptEnd =
  /** `whole`: the answer, where all of it was held. */
  | { kind: 'answered'; usage: Usage | undefined; whole?: WholeAnswer }
  /** Nothing reached the caller. */
  | { kind: 'refused'; error: AppError }
  | { kind: 'broken'; error: AppError; usage: Usage | undefined }
  | { kind: 'aborted' }

interface AttemptOptions {
  deployment: Deployment
  url: DeploymentUrl
  sink: ForwardSink
  /** What the answer's headers say about its routing. */
  head: Pick<ForwardHead, 'score' | 'limits'>
  stripUsage: boolean
  /** Told of the id of a response that may be gone on from, before its caller is. */
  onResponseId?: ((id: string) => void) | undefined
  /** Of sound, which is passed on as it comes: up to this many bytes of it are held as well. */
  keptBytes: number
  turns: AnswerTurns
  clock: Clock
  /** The least of the deployment's own timeout and the time to the request's deadline. */
  timeoutMs: number
  /** How long a caller may not read before it is taken for gone. */
  stallMs: number
}

const maxErrorBytes = 64 * 1024
// An answer that fits is passed on when it is complete, so that a failure half way still finds another deployment.
const maxHeldBytes = 256 * 1024
const maxPreambleBytes = 1024 * 1024
const tailBytes = 16 * 1024

/**
 * One call of one deployment, from the request's last byte to the answer's. It holds the answer until output begins;
 * up to there it can be `refused` as if nothing had happened, and from there on it is the caller's.
 */
export class ForwardAttempt implements ForwardEvents, Watched {
  readonly done: Promise<AttemptEnd>
  readonly #options: AttemptOptions
  readonly #settle: (end: AttemptEnd) => void
  readonly #startedAt: number
  #controller: ForwardController | undefined
  /** The end of a stream that its upstream has called complete: see {@link #writeLast}. */
  #last: Buffer | undefined
  #status = 0
  #headers: AnswerHeaders = {}
  #contentType = ''
  #form: 'error' | 'whole' | 'events' | 'bytes' = 'whole'
  #stream: ForwardStream | undefined
  #held: Buffer[] = []
  #heldBytes = 0
  #tail: Buffer | undefined
  #committed = false
  #named = false
  #over = false
  /** It was read to its end: nothing that happens until it has its turn makes the answer less than it is. */
  #awaitsTurn = false
  #lastAt: number
  #pausedAt: number | undefined
  firstByteMs: number | undefined
  watchedAt = -1
  /** The model that the answer names, where the deployment is one that chooses. */
  answeredBy: string | undefined

  constructor(options: AttemptOptions) {
    this.#options = options
    const { promise, resolve } = Promise.withResolvers<AttemptEnd>()
    this.done = promise
    this.#settle = resolve
    this.#startedAt = this.#lastAt = options.clock.monotonic()
    options.sink.onClose = () => {
      if (!this.#awaitsTurn) this.#stop({ kind: 'aborted' })
    }
    options.sink.onDrain = () => this.#resume()
  }

  get status(): number {
    return this.#status
  }

  /** What the provider says is left of its quota. */
  get remainingTokens(): number | undefined {
    const value = Number(this.#headers['x-ratelimit-remaining-tokens'] ?? Number.NaN)
    return Number.isFinite(value) ? value : undefined
  }

  check(now: number): void {
    if (this.#awaitsTurn) return
    const { deployment, timeoutMs, stallMs } = this.#options
    if (this.#pausedAt !== undefined) {
      if (now - this.#pausedAt > stallMs) this.#stop({ kind: 'aborted' }, () => this.#options.sink.cut())
    } else if (this.#committed ? now - this.#lastAt > deployment.timeout_ms : now - this.#startedAt > timeoutMs) {
      this.fail(new AppError('model_timeout', `${deployment.name} did not answer in time.`))
    }
  }

  /** Ends the call with an error: for another deployment to try, or as the honest end of what has begun. */
  fail(error: AppError): void {
    if (this.#awaitsTurn) return
    if (!this.#committed) return this.#stop({ kind: 'refused', error })
    this.#stop({ kind: 'broken', error, usage: this.#stream?.usage }, () => this.#sayBroken(error))
  }

  onRequestStart(controller: ForwardController): void {
    this.#controller = controller
    if (this.#over) controller.abort(gone)
  }

  onResponseStart(_: ForwardController, status: number, headers: AnswerHeaders): void {
    this.#status = status
    this.#headers = headers
    this.#lastAt = this.#options.clock.monotonic()
    this.#contentType = contentTypeOf(headers)
    if (status >= 300) this.#form = 'error'
    else if (this.#contentType.startsWith('text/event-stream')) {
      this.#form = 'events'
      this.#stream = new ForwardStream(this.#options.url, this.#options.stripUsage)
    } else this.#form = this.#contentType.startsWith('application/json') ? 'whole' : 'bytes'
  }

  onResponseData(_: ForwardController, chunk: Buffer): void {
    if (this.#over) return
    this.#lastAt = this.#options.clock.monotonic()
    switch (this.#form) {
      case 'error':
        if (this.#heldBytes < maxErrorBytes) this.#hold(chunk)
        break
      case 'whole':
        if (this.#committed) this.#rememberTail(chunk)
        else this.#hold(chunk)
        if (this.#committed) this.#write(chunk)
        else if (this.#heldBytes > maxHeldBytes) this.#commit(contentLengthOf(this.#headers))
        break
      case 'events':
        this.#onEvents((this.#stream as ForwardStream).push(chunk))
        break
      case 'bytes':
        if (!this.#committed) this.#commit(contentLengthOf(this.#headers))
        if (this.#options.keptBytes > 0) this.#keep(chunk)
        this.#write(chunk)
    }
  }

  onResponseEnd(): void {
    if (this.#over) return
    if (this.#form === 'error') {
      const { deployment } = this.#options
      const error = refusal(deployment.name, this.#status, this.#headers, this.#whole())
      return this.#stop({ kind: 'refused', error })
    }
    this.#awaitsTurn = true
    this.#options.turns.run(
      () => this.#finish(),
      (thrown) => this.#failToGive(thrown),
    )
  }

  #finish(): void {
    const { sink } = this.#options
    this.#awaitsTurn = false
    if (this.#form === 'events') return this.#onLastEvents(this.#stream as ForwardStream)
    if (this.#form === 'whole' && !this.#committed) {
      const body = this.#whole()
      this.#begin(body.length)
      const whole = { bytes: body, contentType: this.#contentType }
      this.#stop({ kind: 'answered', usage: usageInTail(body), whole }, () => sink.end(body))
      return
    }
    if (!this.#committed) this.#begin(0)
    const usage = this.#tail === undefined ? undefined : usageInTail(this.#tail)
    const whole = this.#kept()
    this.#stop({ kind: 'answered', usage, ...(whole === undefined ? {} : { whole }) }, () => sink.end())
  }

  /** The caller's connection has thrown, perhaps after the call was settled. */
  #failToGive(thrown: unknown): void {
    if (this.#over) this.#options.sink.cut()
    else this.fail(connectionFailure(this.#options.deployment.name, thrown))
  }

  onResponseError(_: ForwardController, thrown: Error): void {
    if (this.#over) return
    // The caller's own upload may be what failed.
    this.fail(thrown instanceof AppError ? thrown : connectionFailure(this.#options.deployment.name, thrown))
  }

  #onEvents(events: Buffer): void {
    const stream = this.#stream as ForwardStream
    if (events.length === 0) return
    if (this.#committed) return stream.state === 'finished' ? this.#writeLast(events) : this.#write(events)
    this.#hold(events)
    if (stream.state === 'failed') {
      const error = streamFailure(this.#options.deployment.name, stream.failure ?? {})
      return this.#stop({ kind: 'refused', error })
    }
    if (stream.state !== 'preamble' || this.#heldBytes > maxPreambleBytes) this.#commit()
  }

  #onLastEvents(stream: ForwardStream): void {
    const { deployment, sink } = this.#options
    this.#onEvents(stream.flush())
    if (this.#over) return
    if (stream.state === 'finished') {
      const last = this.#last
      this.#last = undefined
      return this.#stop({ kind: 'answered', usage: stream.usage }, () => sink.end(last))
    }
    const error = new AppError('model_unavailable', `${deployment.name} broke off before the end of its answer.`)
    if (stream.state !== 'failed' || !this.#committed) return this.fail(error)
    // The upstream's own error event is the last thing that the caller has read.
    this.#stop(
      { kind: 'broken', error: streamFailure(deployment.name, stream.failure ?? {}), usage: stream.usage },
      () => sink.end(),
    )
  }

  #begin(contentLength: number | undefined): void {
    const { deployment, head, sink } = this.#options
    this.#committed = true
    this.firstByteMs = this.#lastAt - this.#startedAt
    const { score, limits } = head
    sink.start({ status: this.#status, contentType: this.#contentType, contentLength, deployment, score, limits })
  }

  #commit(contentLength?: number): void {
    this.#begin(contentLength)
    for (const chunk of this.#held.splice(0)) {
      if (this.#form === 'whole') this.#rememberTail(chunk)
      this.#write(chunk)
    }
  }

  #hold(chunk: Buffer): void {
    if (this.#options.deployment.kind === 'model-router')
      this.answeredBy ??= modelField.exec(chunk.toString('latin1'))?.[1]
    if (this.#options.onResponseId !== undefined && !this.#named) this.#nameResponse(chunk)
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
  }

  #nameResponse(chunk: Buffer): void {
    const id = responseId.exec(chunk.toString('latin1'))?.[1]
    if (id === undefined) return
    this.#named = true
    this.#options.onResponseId?.(id)
  }

  /** Holds what has been written, until it is more than is kept of an answer. */
  #keep(chunk: Buffer): void {
    const { keptBytes } = this.#options
    this.#heldBytes += chunk.length
    if (this.#heldBytes <= keptBytes) this.#held.push(chunk)
    else this.#held = []
  }

  /** Undefined as well where nothing told the answer's end from a connection that was closed. */
  #kept(): WholeAnswer | undefined {
    const framed = this.#headers['content-length'] ?? this.#headers['transfer-encoding']
    if (this.#form !== 'bytes' || this.#held.length === 0 || framed === undefined) return undefined
    return { bytes: this.#whole(), contentType: this.#contentType }
  }

  #whole(): Buffer {
    return this.#held.length === 1 ? (this.#held[0] as Buffer) : Buffer.concat(this.#held)
  }

  #rememberTail(chunk: Buffer): void {
    const whole = this.#tail === undefined || chunk.length > tailBytes ? chunk : Buffer.concat([this.#tail, chunk])
    this.#tail = whole.length > tailBytes ? whole.subarray(-tailBytes) : whole
  }

  #write(chunk: Buffer): void {
    if (this.#options.sink.write(chunk) || this.#pausedAt !== undefined) return
    this.#pausedAt = this.#options.clock.monotonic()
    this.#controller?.pause()
  }

  /** Nearly always the upstream's own end was read with its last events: then both leave in one piece. */
  #writeLast(events: Buffer): void {
    this.#flushLast()
    this.#last = events
    process.nextTick(() => {
      if (!this.#awaitsTurn) this.#flushLast()
    })
  }

  #flushLast(): void {
    const last = this.#last
    this.#last = undefined
    if (last !== undefined) this.#write(last)
  }

  #resume(): void {
    if (this.#pausedAt === undefined) return
    this.#pausedAt = undefined
    this.#lastAt = this.#options.clock.monotonic()
    this.#controller?.resume()
  }

  #sayBroken(error: AppError): void {
    const { sink, url } = this.#options
    if (this.#stream === undefined) sink.cut()
    else sink.end(errorEvent(url, error, this.#stream.events))
  }

  /** The one way out, before the caller is told. The upstream's connection is kept if its answer was read in full. */
  #stop(end: AttemptEnd, say?: () => void): void {
    if (this.#over) return
    if (end.kind === 'aborted') this.#last = undefined
    else this.#flushLast()
    this.#over = true
    const { sink } = this.#options
    sink.onClose = sink.onDrain = undefined
    if (end.kind !== 'answered') this.#controller?.abort(gone)
    this.#settle(end)
    say?.()
  }
}

// Its name is in an answer's first bytes and in each event; a quote inside of a text is escaped.
const modelField = /"model"\s*:\s*"([^"\\]+)"/

// A response's own id comes before those of what is in it, which are named otherwise.
const responseId = /"id"\s*:\s*"(resp_[\w-]{1,200})"/

const gone = new Error('the call was given up')
