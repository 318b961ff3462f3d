import { mergeDeployment } from '../config.ts'
import type { DeploymentSettings } from '../config.ts'
import type { Json } from '../json-fields.ts'
import { PtuBucket } from './ptu-bucket.ts'
import { FixedWindow, SlidingWindow } from './quota-window.ts'
import { hashText } from '../model/seeded-draw.ts'
import type { VirtualClock } from '../virtual-clock.ts'

/** What a call may cost, as Azure estimates it on arrival. */
export interface Estimate {
  promptTokens: number
  outputTokens: number
}

export interface Refusal {
  what: 'token' | 'call' | 'provisioned throughput'
  retryAfterMs: number
}

export interface ActualTokens {
  promptTokens: number
  cachedTokens: number
  completionTokens: number
}

const minuteMs = 60_000
const keptWindows = 120

/** One deployment at work: its limits, its counters, and whether its spot machine still exists. */
export class Deployment {
  settings: DeploymentSettings
  readonly resource: string
  readonly region: string
  /** azureml-model-session: which model server answers. */
  readonly modelSession: string
  /** Set once a spot machine is gone; calls then find nobody listening. */
  evicted = false
  enqueuedTokens = 0
  inFlight = 0
  maxInFlight = 0
  calls = 0
  refusedCalls = 0
  failedCalls = 0
  acceptedEstimate = 0
  refusedEstimate = 0
  promptTokens = 0
  cachedTokens = 0
  completionTokens = 0
  batchLines = 0
  readonly #clock: VirtualClock
  readonly #initial: DeploymentSettings
  readonly #phaseMs: number
  #minute: FixedWindow
  #sliding: SlidingWindow
  #calls1s: FixedWindow
  #calls10s: FixedWindow
  #callsMinute: FixedWindow
  #ptu: PtuBucket

  constructor(
    settings: DeploymentSettings,
    place: { resource: string; region: string },
    clock: VirtualClock,
    seed: number,
  ) {
    this.settings = settings
    this.#initial = settings
    this.resource = place.resource
    this.region = place.region
    this.#clock = clock
    this.modelSession = `d${String(hashText(settings.name, seed) % 1000).padStart(3, '0')}-20260101000000`
    this.#phaseMs = hashText(`${place.resource}/${settings.name}`, seed) % minuteMs
    const fresh = this.#freshWindows()
    this.#minute = fresh.minute
    this.#sliding = fresh.sliding
    this.#calls1s = fresh.calls1s
    this.#calls10s = fresh.calls10s
    this.#callsMinute = fresh.callsMinute
    this.#ptu = fresh.ptu
  }

  /**
   * Counts a call at its arrival, or says which limit refuses it. Accepted estimates are never given back; refused
   * calls count towards nothing.
   */
  admit(estimate: Estimate): Refusal | undefined {
    const refusal = this.settings.kind === 'ptu' ? this.#admitProvisioned(estimate) : this.#admitStandard(estimate)
    const tokens = estimate.promptTokens + estimate.outputTokens
    this.calls++
    if (refusal) {
      this.refusedCalls++
      this.refusedEstimate += tokens
      this.#minute.refuse(tokens, this.#clock.now())
      return refusal
    }
    this.acceptedEstimate += tokens
    if (++this.inFlight > this.maxInFlight) this.maxInFlight = this.inFlight
    return undefined
  }

  /** Ends an admitted call; what it really used corrects a PTU deployment's utilisation and nothing else. */
  settle(estimate: Estimate, actual: ActualTokens | undefined): void {
    this.inFlight--
    if (!actual) return
    this.#count(actual)
    const capacity = this.settings.ptu_tokens_per_minute
    if (this.settings.kind !== 'ptu' || capacity === undefined) return
    const uncached = actual.cachedTokens >= 1024 ? actual.promptTokens - actual.cachedTokens : actual.promptTokens
    const used = this.#weigh({ promptTokens: uncached, outputTokens: actual.completionTokens })
    this.#ptu.correct(this.#weigh(estimate), used, capacity, this.#clock.now())
  }

  /** Counts a batch's line, which has its own quota and is no call. */
  countBatchLine(actual: ActualTokens): void {
    this.batchLines++
    this.#count(actual)
  }

  /** The x-ratelimit-* and utilisation headers of this moment, as a flat list of names and values. */
  quotaHeaders(): string[] {
    const now = this.#clock.now()
    const { tokens_per_minute: tokens, requests_per_minute: requests, ptu_tokens_per_minute: ptu } = this.settings
    if (this.settings.kind === 'ptu' && ptu !== undefined) {
      return ['azure-openai-deployment-utilization', `${(this.#ptu.utilisation(ptu, now) * 100).toFixed(1)}%`]
    }
    const headers: string[] = []
    if (requests !== undefined) {
      const left = Math.max(0, requests - this.#callsMinute.used(now))
      const reset = String(Math.ceil(this.#callsMinute.resetsInMs(now) / 1000))
      headers.push('x-ratelimit-limit-requests', String(requests), 'x-ratelimit-remaining-requests', String(left))
      headers.push('x-ratelimit-reset-requests', reset)
    }
    if (tokens !== undefined) {
      const left = Math.max(0, tokens - this.#tokenWindow.used(now))
      const reset = String(Math.ceil(this.#tokenWindow.resetsInMs(now) / 1000))
      headers.push('x-ratelimit-limit-tokens', String(tokens), 'x-ratelimit-remaining-tokens', String(left))
      headers.push('x-ratelimit-reset-tokens', reset)
    }
    return headers
  }

  /** @throws TypeError naming the offending field. */
  change(settings: Json): void {
    this.settings = mergeDeployment(this.settings, settings, `${this.resource}/${this.settings.name}`)
  }

  /** Back to the configuration file's settings, with empty windows and counters. */
  reset(): void {
    this.settings = this.#initial
    const fresh = this.#freshWindows()
    this.#minute = fresh.minute
    this.#sliding = fresh.sliding
    this.#calls1s = fresh.calls1s
    this.#calls10s = fresh.calls10s
    this.#callsMinute = fresh.callsMinute
    this.#ptu = fresh.ptu
    this.evicted = false
    this.maxInFlight = this.inFlight
    this.calls = this.refusedCalls = this.failedCalls = this.batchLines = this.enqueuedTokens = 0
    this.acceptedEstimate = this.refusedEstimate = 0
    this.promptTokens = this.cachedTokens = this.completionTokens = 0
  }

  /** What the control API shows. Each window holds estimated tokens; used ÷ allowed is accepted ÷ tokens_per_minute. */
  state(): Json {
    const now = this.#clock.now()
    const { ptu_tokens_per_minute: ptu, kind } = this.settings
    return {
      resource: this.resource,
      region: this.region,
      settings: this.settings,
      evicted: this.evicted,
      calls: this.calls,
      refused_calls: this.refusedCalls,
      failed_calls: this.failedCalls,
      in_flight: this.inFlight,
      max_in_flight: this.maxInFlight,
      accepted_estimated_tokens: this.acceptedEstimate,
      refused_estimated_tokens: this.refusedEstimate,
      prompt_tokens: this.promptTokens,
      cached_tokens: this.cachedTokens,
      completion_tokens: this.completionTokens,
      enqueued_tokens: this.enqueuedTokens,
      batch_lines: this.batchLines,
      utilisation: kind === 'ptu' && ptu !== undefined ? this.#ptu.utilisation(ptu, now) : null,
      window_ms: minuteMs,
      windows: this.#minute.records(now),
    }
  }

  #count(actual: ActualTokens): void {
    this.promptTokens += actual.promptTokens
    this.cachedTokens += actual.cachedTokens
    this.completionTokens += actual.completionTokens
  }

  get #tokenWindow(): FixedWindow | SlidingWindow {
    return this.settings.token_window === 'sliding' ? this.#sliding : this.#minute
  }

  #admitStandard(estimate: Estimate): Refusal | undefined {
    const now = this.#clock.now()
    const { tokens_per_minute: tokenLimit, requests_per_minute: callLimit } = this.settings
    const tokens = estimate.promptTokens + estimate.outputTokens
    const tokenWait = tokenLimit === undefined ? 0 : this.#tokenWindow.waitFor(tokens, tokenLimit, now)
    const callWait = callLimit === undefined ? 0 : this.#callWait(callLimit, now)
    if (tokenWait > 0 && tokenWait >= callWait) return { what: 'token', retryAfterMs: tokenWait }
    if (callWait > 0) return { what: 'call', retryAfterMs: callWait }
    this.#minute.accept(tokens, now)
    this.#sliding.accept(tokens, now)
    this.#calls1s.accept(1, now)
    this.#calls10s.accept(1, now)
    this.#callsMinute.accept(1, now)
    return undefined
  }

  /** Azure spreads the minute's calls: a sixtieth of them in each second and a sixth in each ten seconds. */
  #callWait(limit: number, now: number): number {
    const second = this.#calls1s.waitFor(1, Math.max(1, Math.ceil(limit / 60)), now)
    const tenSeconds = this.#calls10s.waitFor(1, Math.max(1, Math.ceil(limit / 6)), now)
    return Math.max(second, tenSeconds)
  }

  #admitProvisioned(estimate: Estimate): Refusal | undefined {
    const now = this.#clock.now()
    const capacity = this.settings.ptu_tokens_per_minute ?? Number.POSITIVE_INFINITY
    const wait = this.#ptu.waitMs(capacity, now)
    if (wait > 0) return { what: 'provisioned throughput', retryAfterMs: wait }
    this.#ptu.pour(this.#weigh(estimate), capacity, now)
    this.#minute.accept(estimate.promptTokens + estimate.outputTokens, now)
    return undefined
  }

  #weigh({ promptTokens, outputTokens }: Estimate): number {
    return promptTokens + outputTokens * this.settings.ptu_output_weight
  }

  #freshWindows() {
    return {
      minute: new FixedWindow(minuteMs, this.#phaseMs, keptWindows),
      sliding: new SlidingWindow(minuteMs),
      calls1s: new FixedWindow(1_000, this.#phaseMs),
      calls10s: new FixedWindow(10_000, this.#phaseMs),
      callsMinute: new FixedWindow(minuteMs, this.#phaseMs),
      ptu: new PtuBucket(this.#clock.now()),
    }
  }
}
