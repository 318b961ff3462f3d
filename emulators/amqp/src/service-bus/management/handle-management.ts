import { BrokerError } from '../../broker-error.ts'
import type { ManagementRequest, ManagementResponse } from '../../server/management-request.ts'
import type { Entity, Namespace } from '../namespace.ts'
import {
  cancelScheduled,
  peekMessages,
  receiveBySequenceNumber,
  renewLock,
  scheduleMessages,
  updateDisposition,
} from './message-operations.ts'
import { addRule, enumerateRules, removeRule } from './rule-operations.ts'
import { getSessionState, listSessions, renewSessionLock, setSessionState } from './session-operations.ts'

const prefix = 'com.microsoft:'

/**
 * Answers a request to an entity's $management node.
 * https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-request-response
 * @throws BrokerError which becomes the response
 */
export const handleManagement = (
  namespace: Namespace,
  entity: Entity,
  request: ManagementRequest,
  maxMessageBytes: number,
): ManagementResponse => {
  const { queue } = entity
  const operation = request.operation.startsWith(prefix) ? request.operation.slice(prefix.length) : request.operation
  switch (operation) {
    case 'renew-lock':
      return renewLock(queue, request)
    case 'peek-message':
      return peekMessages(queue, request)
    case 'schedule-message':
      return scheduleMessages(queue, request, maxMessageBytes)
    case 'cancel-scheduled-message':
      return cancelScheduled(queue, request)
    case 'receive-by-sequence-number':
      return receiveBySequenceNumber(queue, request)
    case 'update-disposition':
      return updateDisposition(queue, request)
    case 'renew-session-lock':
      return renewSessionLock(queue, request)
    case 'get-session-state':
      return getSessionState(queue, request)
    case 'set-session-state':
      return setSessionState(queue, request)
    case 'get-message-sessions':
      return listSessions(queue, request)
    case 'enumerate-rules':
      return enumerateRules(entity, request)
    case 'add-rule':
      return addRule(namespace, entity, request)
    case 'remove-rule':
      return removeRule(namespace, entity, request)
    default:
      throw new BrokerError('amqp:not-implemented', `The operation '${request.operation}' is not supported.`)
  }
}
