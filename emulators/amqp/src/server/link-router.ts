import { BrokerError, entityNotFound, quotaExceeded, unauthorized } from '../broker-error.ts'
import type { AccessKey, AccessRight } from '../config/access-key.ts'
import type { EventHubs } from '../event-hubs/event-hubs.ts'
import type { Namespace } from '../service-bus/namespace.ts'
import { acceptAttach, addressOf, holdAttach, refuseAttach, resumeAttach } from './attach.ts'
import { putToken } from './cbs.ts'
import { eventHubsManagement, openEventConsumer, openEventIngress } from './event-hubs-links.ts'
import type { Peer } from './peer.ts'
import { ReplyLink, serveRequests, type RequestHandler } from './request-link.ts'
import type { RheaReceiver, RheaSender } from './rhea-internals.ts'
import { allows, entityPath } from './sas-token.ts'
import { managementHandler, openConsumer, openIngress, type LinkContext } from './service-bus-links.ts'

const management = '$management'
const mostLinksPerSession = 1024
const requestBytes = 4 * 1024 * 1024

type Parts = {
  context: LinkContext
  /** Asked for each link, because a reset replaces them. */
  entities(): { namespace: Namespace; eventHubs: EventHubs }
  keys: { serviceBus: AccessKey[]; eventHubs: AccessKey[] }
}

/** Decides what each link that a client attaches is connected to. */
export class LinkRouter {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** The client sends. */
  attachReceiver(peer: Peer, receiver: RheaReceiver): void {
    this.#attach(peer, receiver, entityPath(addressOf(receiver, 'target') ?? ''), (address) => {
      const { context } = this.#parts
      const { namespace, eventHubs } = this.#parts.entities()
      const requests = this.#requestHandler(peer, address)
      if (requests !== undefined) {
        acceptAttach(receiver)
        // Clients that name no link in reply-to expect the answer on the node's other link of the same session.
        const replyLink = (replyTo: string): ReplyLink | undefined =>
          peer.replyLinks.get(replyTo) ?? receiver.session.replyLinks?.get(address)
        serveRequests({
          ...context,
          receiver,
          handle: requests,
          replyLink,
          path: ownerOf(address),
          maxBytes: requestBytes,
        })
        return
      }
      this.#authorize(peer, address, 'Send')
      if (this.#isEventHub(peer, address)) openEventIngress(context, eventHubs, address, receiver)
      else openIngress(context, namespace.resolve(address), receiver)
    })
  }

  /** The client receives. */
  attachSender(peer: Peer, sender: RheaSender): void {
    this.#attach(peer, sender, entityPath(addressOf(sender, 'source') ?? ''), (address) => {
      const { context } = this.#parts
      const { namespace, eventHubs } = this.#parts.entities()
      if (isRequestNode(address)) {
        acceptAttach(sender)
        const replies = new ReplyLink(sender)
        // $cbs clients answer to the link's name, $management clients to its target.
        sender.session.replyLinks ??= new Map()
        sender.session.replyLinks.set(address, replies)
        const names = [sender.name, addressOf(sender, 'target')].filter((name) => name !== undefined)
        for (const name of names) peer.replyLinks.set(name, replies)
        sender.once('sender_close', () => names.forEach((name) => peer.replyLinks.delete(name)))
        return
      }
      this.#authorize(peer, address, 'Listen')
      if (this.#isEventHub(peer, address)) openEventConsumer(context, peer, eventHubs, address, sender)
      else openConsumer(context, peer, namespace.resolve(address), sender)
    })
  }

  #attach(peer: Peer, link: RheaReceiver | RheaSender, address: string, open: (address: string) => void): void {
    const { faults, clock } = this.#parts.context
    const path = this.#faultPath(peer, address)
    const links = Object.keys(link.session.links).length
    // Refused links stay until the client detaches them too, so a client that goes on attaching is cut off.
    if (links > 2 * mostLinksPerSession) throw new Error('too many links on one session')
    const attempt = (): void => {
      try {
        if (links > mostLinksPerSession) throw quotaExceeded('a session with too many links')
        if (address === '') throw entityNotFound('')
        if (address !== '$cbs') faults.check('attach', path)
        open(address)
      } catch (error) {
        refuseAttach(link, error instanceof BrokerError ? error : new BrokerError('amqp:internal-error', String(error)))
      }
    }
    const delayMs = address === '$cbs' ? 0 : faults.delayMs('attach', path)
    if (delayMs === 0) {
      attempt()
      return
    }
    holdAttach(link)
    clock.after(delayMs, () => {
      attempt()
      if (link.is_remote_open()) resumeAttach(link)
    })
  }

  /** Faults name an entity; of an event hub's addresses that is the hub. */
  #faultPath(peer: Peer, address: string): string {
    const owner = ownerOf(address)
    return owner !== '' && this.#isEventHub(peer, owner) ? (owner.split('/')[0] ?? owner) : owner
  }

  #requestHandler(peer: Peer, address: string): RequestHandler | undefined {
    const { context, keys } = this.#parts
    const { namespace, eventHubs } = this.#parts.entities()
    if (address === '$cbs')
      return (request) => putToken(peer, [...keys.serviceBus, ...keys.eventHubs], context.clock, request)
    if (!isRequestNode(address)) return undefined
    const owner = ownerOf(address)
    this.#authorize(peer, owner, 'Listen')
    if (owner === '' || this.#isEventHub(peer, owner)) return eventHubsManagement(eventHubs, context.clock)
    return managementHandler(context, namespace, namespace.resolve(owner))
  }

  #isEventHub(peer: Peer, address: string): boolean {
    const { namespace, eventHubs } = this.#parts.entities()
    if (!eventHubs.has(address)) return peer.isEventHubsClient && !namespace.has(address)
    return peer.isEventHubsClient || !namespace.has(address)
  }

  #authorize(peer: Peer, address: string, right: AccessRight): void {
    const { context, keys } = this.#parts
    const { namespace } = this.#parts.entities()
    const needed =
      peer.isEventHubsClient || !namespace.has(address.replace(/\/\$.*$/, '')) ? keys.eventHubs : keys.serviceBus
    if (needed.length === 0 || allows(peer.claims, address, right, context.clock.now())) return
    throw unauthorized(
      `Unauthorized access. '${right}' claim(s) are required to perform this operation on '${address}'.`,
    )
  }
}

const isRequestNode = (address: string): boolean =>
  address === '$cbs' || address === management || address.toLowerCase().endsWith(`/${management}`)

const ownerOf = (address: string): string => address.replace(/\/?\$management$/i, '')
