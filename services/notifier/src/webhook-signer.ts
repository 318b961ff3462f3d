import { hash } from 'node:crypto'

/** The value of the header `webhook-signature`: one signature a secret, in their order. */
export type WebhookSigner = (secrets: readonly string[], id: string, timestamp: string, body: Buffer) => string

/** A key as HMAC mixes it with its two pads (RFC 2104); the outer one has room for the inner digest behind it. */
interface PaddedKey {
  inner: Buffer
  outer: Buffer
}

const maxKeys = 10_000
const blockBytes = 64
const digestBytes = 32

/**
 * The symmetric signature of Standard Webhooks, HMAC-SHA-256. Its own package computes SHA-256 in JavaScript, at ten times
 * the price; `createHmac` makes a native object for every signature, which costs as much as both of its hashes and has to
 * be collected. So HMAC is put together here from two one-shot hashes, and a key is padded once.
 */
export function createWebhookSigner(): WebhookSigner {
  const keys = new Map<string, PaddedKey>()
  const keyOf = (secret: string): PaddedKey => {
    const known = keys.get(secret)
    if (known !== undefined) return known
    const key = paddedKey(Buffer.from(secret.slice('whsec_'.length), 'base64'))
    if (keys.size >= maxKeys) keys.delete(keys.keys().next().value ?? '')
    keys.set(secret, key)
    return key
  }
  // What is hashed first is laid out one behind the other; what is larger than most events gets memory of its own.
  const usual = Buffer.allocUnsafeSlow(16 * 1024)

  return (secrets, id, timestamp, body) => {
    const head = `${id}.${timestamp}.`
    const most = blockBytes + 3 * head.length + body.length
    const text = most <= usual.length ? usual : Buffer.allocUnsafeSlow(most)
    const end = blockBytes + text.write(head, blockBytes)
    text.set(body, end)
    const signed = text.subarray(0, end + body.length)
    return secrets
      .map((secret) => {
        const { inner, outer } = keyOf(secret)
        signed.set(inner)
        outer.write(hash('sha256', signed, 'binary'), blockBytes, 'latin1')
        return `v1,${hash('sha256', outer, 'base64')}`
      })
      .join(' ')
  }
}

function paddedKey(secret: Buffer): PaddedKey {
  const key = secret.length > blockBytes ? hash('sha256', secret, 'buffer') : secret
  const inner = Buffer.alloc(blockBytes, 0x36)
  const outer = Buffer.alloc(blockBytes + digestBytes, 0x5c)
  for (const [at, byte] of key.entries()) {
    inner[at] = byte ^ 0x36
    outer[at] = byte ^ 0x5c
  }
  return { inner, outer }
}
