/** Durations and bounds of the service; tests shorten them. */
export type Limits = {
  /** A ping goes to a client that was sent nothing for this long (not over long polling, where polls are the sign of life). */
  keepAliveIntervalMs: number
  /** A client that sent nothing for this long, not even a ping, is closed. */
  clientTimeoutMs: number
  /** From opening the transport to a complete handshake. */
  handshakeTimeoutMs: number
  /** A long poll without data is answered empty after this long. */
  pollTimeoutMs: number
  /** A negotiated connection that nobody opens, or a long-polling one that nobody polls, ends after this long. */
  disconnectTimeoutMs: number
  /** Bytes waiting for one slow client; past it the connection is dropped with an error. */
  maxBufferedBytes: number
  /** How often the durations above are checked. */
  sweepIntervalMs: number
}

export const defaultLimits: Limits = {
  keepAliveIntervalMs: 15_000,
  clientTimeoutMs: 30_000,
  handshakeTimeoutMs: 15_000,
  pollTimeoutMs: 90_000,
  disconnectTimeoutMs: 15_000,
  maxBufferedBytes: 16 * 1024 * 1024,
  sweepIntervalMs: 1_000,
}

/**
 * The largest REST body and the largest message from a client.
 * https://learn.microsoft.com/azure/azure-signalr/signalr-reference-data-plane-rest-api#limitation
 */
export const maxMessageBytes = 1024 * 1024
