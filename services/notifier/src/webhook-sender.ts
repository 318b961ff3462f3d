import { createHmac } from 'node:crypto'
import type { EventEnvelope, PlatformConfig } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { type Clock, withDeadline } from '@sluice/resilience'
import { Agent, type Dispatcher, ProxyAgent } from 'undici'
import { checkAddressLiteral, guardedLookup } from './address-guard.ts'
import { type Answer, postOnce } from './post-once.ts'
import type { WebhookCall } from './webhook-calls.ts'

export interface WebhookAnswer {
  status: number
  /** The first KiB of the body. */
  excerpt: string
  /** From Retry-After, when it was there and valid. */
  retryAfterMs: number | undefined
}

export interface WebhookSender {
  /**
   * Posts the event once, signed with every secret of the call. Answers with any status; redirects are not followed.
   * @throws AppError `delivery_failed` (no answer) or `delivery_refused` (an address that may not be called, no secret).
   */
  post(
    tenant: string,
    call: Pick<WebhookCall, 'url' | 'secrets'>,
    event: EventEnvelope,
    signal: AbortSignal,
  ): Promise<WebhookAnswer>
  close(): Promise<void>
}

export interface WebhookSenderOptions {
  config: PlatformConfig
  clock: Clock
  /** For a call from connecting to the answer's status. */
  timeoutMs: number
  /** An egress proxy: it resolves names, so only literal addresses are checked here. */
  proxyUrl?: string | undefined
}

const connectTimeoutMs = 5_000
const keepBytes = 1024
const readBytes = 64 * 1024
/** For an answer's body: its status is known by then, and whoever says it and goes on talking is cut off. */
const bodyMs = 2_000

/** Standard Webhooks over undici, with the address guard on every connection that the tenant's allow-list does not name. */
export function createWebhookSender({ config, clock, timeoutMs, proxyUrl }: WebhookSenderOptions): WebhookSender {
  // Lanes bound the calls of a receiver; a bound on connections here would let receivers of one host wait for each other.
  const limits = { headersTimeout: timeoutMs, bodyTimeout: timeoutMs, keepAliveTimeout: 10_000 }
  const direct = new Agent({ ...limits, connect: { timeout: connectTimeoutMs } })
  const guarded: Dispatcher =
    proxyUrl === undefined
      ? new Agent({ ...limits, connect: { lookup: guardedLookup, timeout: connectTimeoutMs } })
      : new ProxyAgent({ ...limits, uri: proxyUrl })

  const dispatcherFor = (tenant: string, url: URL): Dispatcher => {
    if (config.tenants[tenant]?.webhooks.allow_hosts.includes(url.hostname) === true) return direct
    if (url.protocol !== 'https:') throw new AppError('delivery_refused', 'the url must be https', { param: 'url' })
    checkAddressLiteral(url)
    return guarded
  }

  return {
    async post(tenant, { url: text, secrets }, event, signal) {
      if (secrets.length === 0) throw new AppError('delivery_refused', 'there is no webhook signing secret')
      const url = new URL(text)
      const dispatcher = dispatcherFor(tenant, url)
      const body = JSON.stringify(event)
      const timestamp = String(Math.floor(clock.now() / 1000))
      const headers = {
        'content-type': 'application/cloudevents+json',
        'user-agent': 'Sluice-Webhooks/1',
        'webhook-id': event.id,
        'webhook-timestamp': timestamp,
        // Two secrets while one is being rotated: a receiver accepts any signature that verifies.
        'webhook-signature': secrets.map((secret) => sign(secret, `${event.id}.${timestamp}.${body}`)).join(' '),
        ...(event.traceparent === undefined ? {} : { traceparent: event.traceparent }),
      }
      const late = () => new AppError('delivery_failed', `no answer within ${timeoutMs} ms`)
      const call = (signal: AbortSignal) =>
        postOnce(dispatcher, { url, headers, body, keepBytes, readBytes, bodyMs, clock }, signal)
      const answer = await withDeadline(timeoutMs, signal, call, late).catch((cause: unknown) => {
        throw unreachable(cause)
      })
      return answerOf(answer, clock)
    },
    async close() {
      await Promise.all([direct.close(), guarded.close()])
    },
  }
}

function unreachable(cause: unknown): AppError {
  if (cause instanceof AppError) return cause
  const { code, name } = cause as { code?: string; name: string }
  return new AppError('delivery_failed', `no answer (${code ?? name})`, { cause })
}

/** The standard's symmetric signature; its own package computes SHA-256 in JavaScript, at ten times the price. */
function sign(secret: string, content: string): string {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64')
  return `v1,${createHmac('sha256', key).update(content).digest('base64')}`
}

function answerOf({ status, excerpt, retryAfter }: Answer, clock: Clock): WebhookAnswer {
  const seconds = Number(retryAfter)
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(retryAfter ?? '') - clock.now()
  return { status, excerpt: excerpt.toString('utf8'), retryAfterMs: ms > 0 ? ms : undefined }
}
