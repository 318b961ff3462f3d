import { randomUUID } from 'node:crypto'
import type { BrokerError } from '../broker-error.ts'
import type { ReplyLink } from './request-link.ts'
import type { RheaConnection, RheaSession } from './rhea-internals.ts'
import type { Claim } from './sas-token.ts'

/** An open link that takes part in a broker's work and has to be told when it is gone. */
export type OpenLink = { session: RheaSession; path: string; detached(): void; close(error: BrokerError): void }

/** One client's connection. */
export class Peer {
  readonly id = randomUUID()
  readonly connection: RheaConnection
  readonly claims: Claim[] = []
  /** Links on which requests are answered, by the names that reply-to can have. */
  readonly replyLinks = new Map<string, ReplyLink>()
  readonly links = new Set<OpenLink>()

  constructor(connection: RheaConnection) {
    this.connection = connection
  }

  /** Whether the client says that it is one of Event Hubs. */
  get isEventHubsClient(): boolean {
    const properties = this.connection.properties
    return /event-?hub/i.test(`${String(properties?.['user-agent'])} ${String(properties?.['product'])}`)
  }

  sessionClosed(session: RheaSession): void {
    for (const link of this.links) if (link.session === session) this.drop(link)
  }

  /** The link is gone. */
  drop(link: OpenLink): void {
    if (this.links.delete(link)) link.detached()
  }

  closed(): void {
    for (const link of this.links) this.drop(link)
    this.replyLinks.clear()
  }
}
