import type { LookupFunction } from 'node:net'
import type { EventEnvelope, PlatformConfig } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { Bag } from '@sluice/messaging'
import type { Clock } from '@sluice/resilience'
import { Agent, type Dispatcher, ProxyAgent } from 'undici'
import { checkAddressLiteral, guardedLookup, listedLookup } from './address-guard.ts'
import { createHostResolver } from './host-resolver.ts'
import { type Answer, type Call, postOnce } from './post-once.ts'
import type { WebhookCall } from './webhook-calls.ts'
import { createWebhookSigner } from './webhook-signer.ts'

export interface WebhookAnswer {
  status: number
  /** The first KiB of the body. */
  excerpt: string
  /** From Retry-After, when it was there and valid. */
  retryAfterMs: number | undefined
}

export interface WebhookSender {
  /**
   * Posts the event once, whose JSON is `body`, signed with every secret of the call. Answers with any status; redirects are
   * not followed.
   * @throws AppError `delivery_failed` (no answer) or `delivery_refused` (an address that may not be called, no secret).
   */
  post(
    tenant: string,
    call: Pick<WebhookCall, 'url' | 'secrets'>,
    event: Pick<EventEnvelope, 'id' | 'traceparent'>,
    body: Buffer,
  ): Promise<WebhookAnswer>
  close(): Promise<void>
}

export interface WebhookSenderOptions {
  config: PlatformConfig
  clock: Clock
  /** For a call from connecting to the answer's status. */
  timeoutMs: number
  /** Ends the calls under way, with its reason. */
  signal: AbortSignal
  /** An egress proxy: it resolves names, so only literal addresses are checked here. */
  proxyUrl?: string | undefined
  /** Name servers for receivers' names; the machine's own unless given. */
  dnsServers?: readonly string[] | undefined
}

const connectTimeoutMs = 5_000
const keepBytes = 1024
const readBytes = 64 * 1024
/** For an answer's body: its status is known by then, and whoever says it and goes on talking is cut off. */
const bodyMs = 2_000

/** Standard Webhooks over undici, with the address guard on every connection that the tenant's allow-list does not name. */
export function createWebhookSender(options: WebhookSenderOptions): WebhookSender {
  const { config, clock, timeoutMs, signal, proxyUrl, dnsServers } = options
  // Lanes bound the calls of a receiver; a bound on connections here would let receivers of one host wait for each other.
  const limits = { headersTimeout: timeoutMs, bodyTimeout: timeoutMs, keepAliveTimeout: 10_000 }
  const resolver = createHostResolver(dnsServers)
  const connecting = (lookup: LookupFunction) => ({ connect: { lookup, timeout: connectTimeoutMs } })
  const direct = new Agent({ ...limits, ...connecting(listedLookup(resolver)) })
  const guarded: Dispatcher =
    proxyUrl === undefined
      ? new Agent({ ...limits, ...connecting(guardedLookup(resolver)) })
      : new ProxyAgent({ ...limits, uri: proxyUrl })

  const sign = createWebhookSigner()
  const addressOf = rememberAddresses()
  // One listener for all calls: a signal compares each new one with those that it has.
  const underWay = new Bag<Call>()
  const cutShort = () => {
    for (const call of [...underWay.members]) call.cutShort(signal.reason as Error)
    resolver.cancel()
  }
  signal.addEventListener('abort', cutShort, { once: true })

  const dispatcherFor = (tenant: string, url: URL): Dispatcher => {
    if (config.tenants[tenant]?.webhooks.allow_hosts.includes(url.hostname) === true) return direct
    if (url.protocol !== 'https:') throw new AppError('delivery_refused', 'the url must be https', { param: 'url' })
    checkAddressLiteral(url)
    return guarded
  }

  return {
    async post(tenant, { url: text, secrets }, event, body) {
      signal.throwIfAborted()
      if (secrets.length === 0) throw new AppError('delivery_refused', 'there is no webhook signing secret')
      const { url, origin, path } = addressOf(text)
      const dispatcher = dispatcherFor(tenant, url)
      const timestamp = String(Math.floor(clock.now() / 1000))
      const headers = {
        'content-type': 'application/cloudevents+json',
        'user-agent': 'Sluice-Webhooks/1',
        'webhook-id': event.id,
        'webhook-timestamp': timestamp,
        // Two secrets while one is being rotated: a receiver accepts any signature that verifies.
        'webhook-signature': sign(secrets, event.id, timestamp, body),
        ...(event.traceparent === undefined ? {} : { traceparent: event.traceparent }),
      }
      const late = () => new AppError('delivery_failed', `no answer within ${timeoutMs} ms`)
      try {
        const input = { origin, path, headers, body, timeoutMs, late, keepBytes, readBytes, bodyMs, clock }
        return answerOf(await postOnce(dispatcher, input, underWay), clock)
      } catch (cause) {
        throw unreachable(cause)
      }
    },
    async close() {
      signal.removeEventListener('abort', cutShort)
      resolver.cancel()
      await Promise.all([direct.close(), guarded.close()])
    },
  }
}

interface Address {
  url: URL
  origin: string
  path: string
}

const maxAddresses = 10_000

/** Receivers are called again and again: each url is taken apart once. */
function rememberAddresses(): (text: string) => Address {
  const addresses = new Map<string, Address>()
  return (text) => {
    const known = addresses.get(text)
    if (known !== undefined) return known
    const url = new URL(text)
    const address = { url, origin: url.origin, path: url.pathname + url.search }
    if (addresses.size >= maxAddresses) addresses.delete(addresses.keys().next().value ?? '')
    addresses.set(text, address)
    return address
  }
}

function unreachable(cause: unknown): AppError {
  if (cause instanceof AppError) return cause
  const { code, name } = cause as { code?: string; name: string }
  return new AppError('delivery_failed', `no answer (${code ?? name})`, { cause })
}

function answerOf({ status, excerpt, retryAfter }: Answer, clock: Clock): WebhookAnswer {
  const seconds = Number(retryAfter)
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(retryAfter ?? '') - clock.now()
  return { status, excerpt: excerpt.toString('utf8'), retryAfterMs: ms > 0 ? ms : undefined }
}
