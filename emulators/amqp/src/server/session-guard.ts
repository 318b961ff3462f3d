import { messageLockLost } from '../broker-error.ts'
import { longestTag } from './frame-output.ts'
import {
  rejectedState,
  type Frame,
  type RheaConnection,
  type RheaReceiver,
  type RheaSender,
  type RheaSession,
} from './rhea-internals.ts'

const messageFormatField = 3
const nothing = Buffer.alloc(0)
const longestClientRange = 65_536

/**
 * Takes over how a session reads and writes transfers, and reads dispositions:
 * - Transfers of format 0 reach the link as bytes. rhea would decode them and drop the bytes, and with them the types.
 * - A delivery larger than the link allows is counted but not kept, so that it can be rejected without being held.
 * - Deliveries that fit one frame are sent without rhea's encoder, see frame-output.ts.
 * - A disposition's range is clamped to deliveries that exist; rhea would loop over whatever range it names.
 */
export const guardSession = (session: RheaSession): void => {
  const { outgoing } = session
  const sendRest = outgoing.process.bind(outgoing)
  outgoing.process = () => {
    sendWhole(session)
    sendRest()
  }
  const transfer = session.on_transfer.bind(session)
  session.on_transfer = (frame) => {
    const link = session._get_link(frame) as RheaReceiver
    if (isUnwanted(session, link, frame)) return
    if (frame.performative.message_format === 0) frame.performative.value[messageFormatField] = undefined
    countBytes(link, frame)
    transfer(frame)
  }
  const disposition = session.on_disposition.bind(session)
  session.on_disposition = (frame) => {
    const { role, first, last } = frame.performative
    if (role) settleOutgoing(session, frame)
    else if ((last ?? first) - first < longestClientRange) disposition(frame)
    ;(session.connection as RheaConnection)._register()
  }
}

/**
 * Sends what waits, in order, up to the first delivery that needs several frames or for which there is no credit or window:
 * rhea's own loop goes on from there.
 */
const sendWhole = ({ outgoing, connection, local }: RheaSession): void => {
  const { frameOutput } = connection as RheaConnection
  if (frameOutput === undefined) return
  while (outgoing.next_pending_delivery < outgoing.next_delivery_id) {
    const delivery = outgoing.deliveries.by_id(outgoing.next_pending_delivery)
    const { tag, data } = delivery ?? {}
    const payload = data?.length === 1 ? data[0] : undefined
    if (delivery === undefined || payload === undefined || tag === undefined || tag.length > longestTag) return
    const { link, id, settled } = delivery
    if (link.credit <= 0 || outgoing.transfer_window() <= 0) return
    frameOutput.send({ channel: local.channel, handle: link.local.handle, deliveryId: id, tag, settled, payload })
    outgoing.window--
    outgoing.next_transfer_id++
    outgoing.next_pending_delivery++
    link.credit--
    link.delivery_count++
    // What goes out settled needs no answer, and leaves the buffer.
    if (settled) delivery.remote_settled = true
  }
}

const countBytes = (link: RheaReceiver, frame: Frame): void => {
  const arrived = (link.arrivedBytes ?? 0) + (frame.payload?.length ?? 0)
  link.arrivedBytes = frame.performative.more ? arrived : 0
  if (arrived > (link.maxBytes ?? Infinity)) {
    if (link._incomplete !== undefined) link._incomplete.frames = []
    frame.payload = nothing
    link.oversizedBytes = arrived
  } else frame.payload ??= nothing
}

// A refused link's transfers may still be on their way when it is detached. They are counted, or the session's ids would
// no longer match the client's.
const isUnwanted = (session: RheaSession, link: RheaReceiver, frame: Frame): boolean => {
  const { aborted, delivery_id: deliveryId } = frame.performative
  const beyondCredit = link._incomplete === undefined && link.credit <= 0
  if (!link.refused && !aborted && !beyondCredit) return false
  if (beyondCredit && !link.refused) {
    link.refused = true
    link.close({
      condition: 'amqp:link:transfer-limit-exceeded',
      description: 'A transfer arrived without link credit.',
    })
  }
  session.incoming.next_transfer_id++
  if (link._incomplete !== undefined) {
    link._incomplete.settled = true
    link._incomplete = undefined
    link.arrivedBytes = 0
  }
  const next = session.incoming.next_delivery_id
  if (typeof deliveryId === 'number' && (next === undefined || deliveryId >= next))
    session.incoming.next_delivery_id = deliveryId + 1
  return true
}

const settleOutgoing = (session: RheaSession, frame: Frame): void => {
  const { outgoing } = session
  const { first, state } = frame.performative
  const settled = frame.performative.settled === true
  // Deliveries that have not been written yet cannot be settled; rhea would lose its place if one left its buffer.
  const last = Math.min(frame.performative.last ?? first, outgoing.next_pending_delivery - 1)
  if (last - first >= longestClientRange) return
  for (let id = first; id <= last; id++) {
    const delivery = outgoing.deliveries.by_id(id)
    if (delivery === undefined || delivery.remote_settled) {
      if (!settled) answerForgotten(session, id)
      continue
    }
    if (settled) delivery.remote_settled = true
    const link: RheaSender = delivery.link
    link.onDisposition?.(delivery, state, settled)
  }
}

// A delivery whose lock is lost has been given up, see OutgoingLink.forget, but a client that settles it waits for an
// answer all the same.
const answerForgotten = (session: RheaSession, id: number): void => {
  const { condition, message } = messageLockLost()
  const link = { is_receiver: () => false, session }
  session.outgoing.pending_dispositions.push({ id, link, settled: true, state: rejectedState(condition, message) })
}
