type TransportKind = 'WebSockets' | 'ServerSentEvents' | 'LongPolling'

/** One client's way out. Bytes come in through the connection's `receive`. */
export type Transport = {
  readonly kind: TransportKind
  readonly supportsBinary: boolean
  /** Bytes accepted by `send` that the client has not taken yet. */
  bufferedBytes(): number
  send(bytes: Buffer, isBinary: boolean): void
  /** Closes once everything sent so far is out. */
  end(): void
  /** Closes at once; what is buffered is lost. */
  destroy(): void
  /** When the client last showed that it is there, for transports that show it by themselves (long polling). */
  lastSeen?(): number
}
