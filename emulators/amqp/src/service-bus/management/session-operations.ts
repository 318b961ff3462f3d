import { invalidArgument, notAllowed } from '../../broker-error.ts'
import type { ManagementRequest, ManagementResponse } from '../../server/management-request.ts'
import { amqpTypes } from '../../server/rhea-internals.ts'
import type { MessageQueue } from '../message-queue.ts'
import type { SessionDispatcher } from '../session-dispatcher.ts'
import { sessionIdOf } from './request-fields.ts'

const sessionsOf = (queue: MessageQueue): SessionDispatcher => {
  if (queue.sessions === undefined) throw notAllowed(`The entity '${queue.path}' does not support sessions.`)
  return queue.sessions
}

export const renewSessionLock = (queue: MessageQueue, request: ManagementRequest): ManagementResponse => ({
  status: 200,
  body: { expiration: amqpTypes.wrap_timestamp(sessionsOf(queue).renew(sessionIdOf(request))) },
})

export const getSessionState = (queue: MessageQueue, request: ManagementRequest): ManagementResponse => ({
  status: 200,
  body: { 'session-state': sessionsOf(queue).state(sessionIdOf(request)) ?? null },
})

export const setSessionState = (queue: MessageQueue, request: ManagementRequest): ManagementResponse => {
  sessionsOf(queue)
  const state = request.field('session-state')
  if (state !== null && !Buffer.isBuffer(state)) throw invalidArgument('session-state must be binary or null.')
  queue.setSessionState(sessionIdOf(request), state ?? undefined)
  return { status: 200 }
}

export const listSessions = (queue: MessageQueue, request: ManagementRequest): ManagementResponse => {
  const since = request.field('last-updated-time')
  const skip = Number(request.field('skip') ?? 0)
  const top = Number(request.field('top') ?? 100)
  const found = sessionsOf(queue)
    .list(since instanceof Date ? since.getTime() : 0)
    .slice(skip, skip + top)
  if (found.length === 0) return { status: 204 }
  return { status: 200, body: { skip: amqpTypes.wrap_int(skip + found.length), 'sessions-ids': found } }
}
