import type { BrokerContext } from '../broker-context.ts'
import { BrokerError, entityDisabled, notAllowed } from '../broker-error.ts'
import type { FaultPlan } from '../control/fault-plan.ts'
import { handleManagement } from '../service-bus/management/handle-management.ts'
import type { Entity, Namespace } from '../service-bus/namespace.ts'
import { acceptAttach, grantSession, holdAttach, requestedSession, resumeAttach } from './attach.ts'
import { ConsumerLink } from './consumer-link.ts'
import { serveIngress, type SizeLimits } from './ingress-link.ts'
import type { OpenLink, Peer } from './peer.ts'
import type { RequestHandler } from './request-link.ts'
import type { RheaReceiver, RheaSender } from './rhea-internals.ts'

export type LinkContext = BrokerContext & { faults: FaultPlan; limits: SizeLimits }

const defaultSessionWaitMs = 60_000
const settledMode = 1

/** Opens a client's sender on a queue or topic. @throws BrokerError when it must be refused */
export const openIngress = (context: LinkContext, entity: Entity, receiver: RheaReceiver): void => {
  const { queue } = entity
  if (entity.kind === 'subscription' || entity.kind === 'dead-letter')
    throw notAllowed(`Messages cannot be sent to '${queue.path}'.`)
  if (queue.properties.status === 'Disabled' || queue.properties.status === 'SendDisabled')
    throw entityDisabled(queue.path)
  acceptAttach(receiver)
  const ingress = { path: queue.path, publish: queue.publish.bind(queue) }
  serveIngress({ ...context, receiver, ingress })
}

/** Opens a client's receiver on a queue, subscription or dead-letter queue. @throws BrokerError when it must be refused */
export const openConsumer = (context: LinkContext, peer: Peer, entity: Entity, sender: RheaSender): void => {
  const { queue } = entity
  if (entity.kind === 'topic')
    throw notAllowed(`Messages cannot be received from the topic '${queue.path}'; use a subscription.`)
  if (queue.properties.status === 'Disabled' || queue.properties.status === 'ReceiveDisabled')
    throw entityDisabled(queue.path)
  const session = requestedSession(sender)
  if (queue.sessions !== undefined && session === undefined)
    throw notAllowed(
      `It is not possible for '${queue.path}', which requires sessions, to create a receiver without a session.`,
    )
  if (queue.sessions === undefined && session !== undefined)
    throw notAllowed(`A session receiver cannot be created on '${queue.path}', which does not require sessions.`)
  const mode = sender.snd_settle_mode === settledMode ? 'receive-and-delete' : 'peek-lock'
  const consumer = new ConsumerLink({ ...context, sender, queue, mode })
  const link: OpenLink = {
    session: sender.session,
    path: queue.path,
    detached: () => consumer.detached(),
    close: (error) => consumer.close(error),
  }
  if (typeof session === 'string') {
    const lockedUntilMs = consumer.acceptSession(session)
    holdAttach(sender)
    replyWithSession(context, sender, session, lockedUntilMs)
  } else if (session === null) waitForSession(context, peer, sender, consumer, link)
  else {
    acceptAttach(sender)
    consumer.consume()
  }
  track(peer, sender, link)
}

// The attach reply is the answer to "accept the next session", so it is withheld until there is one.
const waitForSession = (
  context: LinkContext,
  peer: Peer,
  sender: RheaSender,
  consumer: ConsumerLink,
  link: OpenLink,
): void => {
  const wanted = Number(
    (sender.properties as Record<string, unknown> | undefined)?.['com.microsoft:timeout'] ?? defaultSessionWaitMs,
  )
  holdAttach(sender)
  const timer = context.scheduler.at(context.clock.now() + (wanted > 0 ? wanted : defaultSessionWaitMs), () => {
    if (!consumer.stopWaiting()) return
    resumeAttach(sender)
    link.close(
      new BrokerError(
        'com.microsoft:timeout',
        'The operation did not complete within the allotted time: no session has become available.',
      ),
    )
    peer.drop(link)
  })
  sender.once('sender_close', () => {
    timer.cancel()
    // A client that gives up waits for both ends of the link to be closed.
    if (consumer.stopWaiting()) resumeAttach(sender)
  })
  consumer.acceptNextSession((sessionId, lockedUntilMs) => {
    timer.cancel()
    replyWithSession(context, sender, sessionId, lockedUntilMs)
  })
}

// The reply acknowledges the session's lock, so it waits until the lock is in the journal.
const replyWithSession = (
  { journal }: LinkContext,
  sender: RheaSender,
  sessionId: string,
  lockedUntilMs: number,
): void =>
  journal.afterCommit(() => {
    acceptAttach(sender)
    grantSession(sender, sessionId, lockedUntilMs)
    resumeAttach(sender)
  })

const track = (peer: Peer, sender: RheaSender, link: OpenLink): void => {
  peer.links.add(link)
  sender.once('sender_close', () => peer.drop(link))
}

/** Answers requests to an entity's $management. */
export const managementHandler =
  (context: LinkContext, namespace: Namespace, entity: Entity): RequestHandler =>
  (request) =>
    handleManagement(namespace, entity, request, context.limits.messageBytes)
