import { randomBytes } from 'node:crypto'

import type { ClientConnection, ClientIdentity } from './client-connection.ts'
import { createClientConnection } from './client-connection.ts'
import type { HubRegistry } from './hub-registry.ts'
import type { Limits } from './limits.ts'
import type { LongPollingTransport } from './long-polling-transport.ts'
import type { Transport } from './transport.ts'

/** What a connection token stands for: negotiated, and from the opening of a transport on also connected. */
export type ClientSession = {
  readonly token: string
  readonly negotiatedAt: number
  readonly identity: ClientIdentity
  connection?: ClientConnection
  polling?: LongPollingTransport
}

/** Negotiations that nobody opened; the oldest gives way. */
const maxPending = 10_000

const newId = (): string => randomBytes(16).toString('base64url')

export type ClientSessions = ReturnType<typeof createClientSessions>

/** Sessions by connection token, from negotiation until the transport has ended. */
export function createClientSessions(
  hubs: HubRegistry,
  limits: Limits,
  now: () => number,
  log: (line: string) => void,
) {
  const sessions = new Map<string, ClientSession>()
  const pending = new Set<ClientSession>()
  const counters = { opened: 0, closed: 0, closedFor: {} as Record<string, number> }

  const forget = (session: ClientSession): void => {
    sessions.delete(session.token)
    pending.delete(session)
  }

  return {
    counters,

    negotiate(identity: Omit<ClientIdentity, 'connectionId'>): ClientSession {
      const session: ClientSession = {
        token: newId(),
        negotiatedAt: now(),
        identity: { ...identity, connectionId: newId() },
      }
      if (pending.size >= maxPending) forget(pending.values().next().value as ClientSession)
      sessions.set(session.token, session)
      pending.add(session)
      return session
    },

    find: (token: string): ClientSession | undefined => sessions.get(token),
    forget,

    /** Puts a session on its transport. The token is used up except for the requests of this connection. */
    connect(session: ClientSession, transport: Transport): ClientConnection {
      pending.delete(session)
      const connection = createClientConnection(session.identity, transport, limits, now, {
        onOpen(opened) {
          counters.opened++
          hubs.open(opened.hub).add(opened)
        },
        onClosed(closed, reason) {
          counters.closed++
          const [kind] = reason.split(':')
          counters.closedFor[kind as string] = (counters.closedFor[kind as string] ?? 0) + 1
          log(`connection ${closed.connectionId} of hub ${closed.hub} closed: ${reason}`)
          hubs.find(closed.hub)?.remove(closed)
          hubs.releaseIfEmpty(closed.hub)
          // A long-polling client still has to fetch what was queued for it, the Close message last of all.
          if (transport.kind !== 'LongPolling') forget(session)
        },
      })
      session.connection = connection
      return connection
    },

    sweep(): void {
      for (const session of [...sessions.values()]) {
        session.connection?.sweep()
        const lastSeen = session.polling?.lastSeen?.() ?? (session.connection ? undefined : session.negotiatedAt)
        // A polling client that went away after its connection had closed would otherwise stay for good.
        if (lastSeen !== undefined && now() - lastSeen > limits.disconnectTimeoutMs) forget(session)
      }
    },

    /** Closes every connection, with or without a transport that is still open. */
    closeAll(reason: string, allowReconnect: boolean): void {
      for (const session of [...sessions.values()]) {
        session.connection?.close(reason, allowReconnect)
        if (!session.connection) forget(session)
      }
    },
  }
}
