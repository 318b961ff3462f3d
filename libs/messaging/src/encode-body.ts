/** Bytes are sent as they are, text as its UTF-8, anything else as its JSON. */
export type OutgoingBody = Uint8Array | string | object

// The SDKs would send text as a JSON string, in quotes, and would guess again on the receiving side.
export function encodeBody(body: OutgoingBody): Buffer {
  if (Buffer.isBuffer(body)) return body
  if (body instanceof Uint8Array) return Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}
