import { type PlatformConfig, type ResultEvent } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { Clock } from '@sluice/resilience'
import { Webhook } from 'standardwebhooks'
import { Agent, request } from 'undici'
import { checkAddressLiteral, guardedLookup } from './address-guard.ts'

export interface WebhookAnswer {
  status: number
  /** The first KiB of the body. */
  excerpt: string
  /** From Retry-After, when it was there and valid. */
  retryAfterMs: number | undefined
}

export interface WebhookSender {
  /**
   * Posts the event once, signed for the tenant. Answers with any status; redirects are not followed.
   * @throws AppError `delivery_failed` (no answer) or `delivery_refused` (an address that may not be called, no secret).
   */
  post(tenant: string, url: string, event: ResultEvent, signal: AbortSignal): Promise<WebhookAnswer>
  close(): Promise<void>
}

const excerptBytes = 1024
const discardBytes = 64 * 1024

/** Standard Webhooks over undici, with the address guard on every connection that the tenant's allow-list does not name. */
export function createWebhookSender(deps: { config: PlatformConfig; clock: Clock; timeoutMs: number }): WebhookSender {
  const limits = {
    connections: 32,
    headersTimeout: deps.timeoutMs,
    bodyTimeout: deps.timeoutMs,
    keepAliveTimeout: 10_000,
  }
  const guarded = new Agent({ ...limits, connect: { lookup: guardedLookup, timeout: 5000 } })
  const open = new Agent({ ...limits, connect: { timeout: 5000 } })
  const signers = new Map(
    Object.entries(deps.config.tenants).map(([tenant, { webhooks }]) => [
      tenant,
      webhooks.secrets.map((secret) => new Webhook(secret)),
    ]),
  )

  return {
    async post(tenant, target, event, signal) {
      const url = new URL(target)
      const keys = signers.get(tenant) ?? []
      if (keys.length === 0) throw new AppError('delivery_refused', 'this tenant has no webhook signing secret')
      const allowed = deps.config.tenants[tenant]?.webhooks.allow_hosts.includes(url.hostname) === true
      if (!allowed) {
        if (url.protocol !== 'https:') throw new AppError('delivery_refused', 'the url must be https', { param: 'url' })
        checkAddressLiteral(url)
      }
      const body = JSON.stringify(event)
      const at = new Date(deps.clock.now())
      const answer = await request(url, {
        method: 'POST',
        dispatcher: allowed ? open : guarded,
        headers: {
          'content-type': 'application/cloudevents+json',
          'user-agent': 'Sluice-Webhooks/1',
          'webhook-id': event.id,
          'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
          // Two secrets while one is being rotated: a receiver accepts any signature that verifies.
          'webhook-signature': keys.map((key) => key.sign(event.id, at, body)).join(' '),
          ...(event.traceparent === undefined ? {} : { traceparent: event.traceparent }),
        },
        body,
        signal: AbortSignal.any([signal, AbortSignal.timeout(deps.timeoutMs)]),
      }).catch((cause: unknown) => {
        throw unreachable(cause)
      })
      return {
        status: answer.statusCode,
        excerpt: await readExcerpt(answer.body),
        retryAfterMs: retryAfter(answer.headers['retry-after'], deps.clock),
      }
    },
    async close() {
      await Promise.all([guarded.close(), open.close()])
    },
  }
}

function unreachable(cause: unknown): AppError {
  if (cause instanceof AppError) return cause
  const { code, name } = cause as { code?: string; name: string }
  return new AppError('delivery_failed', `no answer (${code ?? name})`, { cause })
}

async function readExcerpt(
  body: AsyncIterable<Buffer> & { dump(options: { limit: number }): Promise<void> },
): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of body) {
      chunks.push(chunk)
      bytes += chunk.length
      // Leaving the loop destroys the body, and with it the connection of a receiver that will not stop talking.
      if (bytes > discardBytes) break
    }
  } catch {
    // The status counts; a body that breaks off does not change it.
  }
  return Buffer.concat(chunks).subarray(0, excerptBytes).toString('utf8')
}

function retryAfter(header: string | string[] | undefined, clock: Clock): number | undefined {
  if (typeof header !== 'string') return undefined
  const seconds = Number(header)
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - clock.now()
  return ms > 0 ? ms : undefined
}
