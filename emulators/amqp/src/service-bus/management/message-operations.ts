import { AmqpDecodeError } from '../../amqp/decode-error.ts'
import { parseMessage } from '../../amqp/parse-message.ts'
import { invalidArgument, messageTooLarge } from '../../broker-error.ts'
import type { ManagementRequest, ManagementResponse } from '../../server/management-request.ts'
import { amqpTypes } from '../../server/rhea-internals.ts'
import { encodeDelivery } from '../encode-delivery.ts'
import { lockToken } from '../lock-token.ts'
import type { MessageQueue } from '../message-queue.ts'
import { lockIds, record, sequenceNumbers } from './request-fields.ts'

const mostPeeked = 1000
const mostPeekedBytes = 4 * 1024 * 1024

export const renewLock = (queue: MessageQueue, request: ManagementRequest): ManagementResponse => {
  const expirations = lockIds(request).map((lockId) => queue.renewLock(lockId))
  return { status: 200, body: { expirations: amqpTypes.wrap_array(expirations, 0x83) } }
}

export const peekMessages = (queue: MessageQueue, request: ManagementRequest): ManagementResponse => {
  const from = Number(request.field('from-sequence-number') ?? 0)
  const count = Number(request.field('message-count') ?? 1)
  if (!Number.isInteger(count) || count < 1) throw invalidArgument('message-count must be at least 1.')
  const sessionId = request.field('session-id')
  const messages: { message: Buffer }[] = []
  let bytes = 0
  for (const found of queue.peek(
    from,
    Math.min(count, mostPeeked),
    typeof sessionId === 'string' ? sessionId : undefined,
  )) {
    const message = encodeDelivery({ ...found, lock: undefined }, queue.contents.bareOf(found))
    bytes += message.length
    if (messages.length > 0 && bytes > mostPeekedBytes) break
    messages.push({ message })
  }
  if (messages.length === 0) return { status: 204, condition: 'com.microsoft:message-not-found' }
  return { status: 200, body: { messages } }
}

export const scheduleMessages = (
  queue: MessageQueue,
  request: ManagementRequest,
  maxMessageBytes: number,
): ManagementResponse => {
  const entries = request.field('messages')
  if (!Array.isArray(entries)) throw invalidArgument('messages must be a list.')
  const drafts = entries.map((entry) => {
    const { message } = record(entry)
    if (!Buffer.isBuffer(message)) throw new AmqpDecodeError('messages must be encoded messages')
    if (message.length > maxMessageBytes) throw messageTooLarge(message.length, maxMessageBytes)
    return parseMessage(message)
  })
  return { status: 200, body: { 'sequence-numbers': amqpTypes.wrap_array(queue.publish(drafts), 0x81) } }
}

export const cancelScheduled = (queue: MessageQueue, request: ManagementRequest): ManagementResponse => {
  queue.cancelScheduled(sequenceNumbers(request))
  return { status: 200 }
}

export const receiveBySequenceNumber = (queue: MessageQueue, request: ManagementRequest): ManagementResponse => {
  const removes = Number(request.field('receiver-settle-mode') ?? 0) === 0
  const messages = queue.receiveDeferred(sequenceNumbers(request), undefined, removes).map((message) => ({
    message: encodeDelivery(message, queue.contents.bareOf(message)),
    ...(message.lock === undefined || removes ? {} : { 'lock-token': amqpTypes.wrap_uuid(lockToken(message.lock.id)) }),
  }))
  return { status: 200, body: { messages } }
}

export const updateDisposition = (queue: MessageQueue, request: ManagementRequest): ManagementResponse => {
  const status = request.field('disposition-status')
  const changes = request.encodedEntries('properties-to-modify')
  const [reason, description] = [request.field('deadletter-reason'), request.field('deadletter-description')]
  for (const lockId of lockIds(request)) {
    if (status === 'completed') queue.complete(lockId)
    else if (status === 'abandoned') queue.abandon(lockId, changes)
    else if (status === 'defered') queue.defer(lockId, changes)
    else if (status === 'suspended') {
      queue.deadLetter(
        lockId,
        {
          ...(typeof reason === 'string' ? { reason } : {}),
          ...(typeof description === 'string' ? { description } : {}),
        },
        changes,
      )
    } else throw invalidArgument(`disposition-status '${JSON.stringify(status)}' is unknown.`)
  }
  return { status: 200 }
}
