import type { ClientConnection } from './client-connection.ts'
import { HttpError } from './http-exchange.ts'
import { sendTo } from './hub.ts'
import type { Hub } from './hub.ts'
import { invocationFrame } from './hub-message.ts'
import type { Operation, RouteParameters } from './rest-routes.ts'

/** One call of the REST API, checked. `hub` is undefined for a hub without connections and memberships. */
export type Call = {
  hub: Hub | undefined
  openHub: () => Hub
  parameters: RouteParameters
  excluded: ReadonlySet<string>
  reason: string | undefined
  ttlSeconds: number | undefined
  message: { target: string; arguments: unknown[] } | undefined
}

/** The codes that Microsoft's .NET SDK tells expected absences by. */
const connectionMissing = () => new HttpError(404, 'Warning.Connection.NotExisted', 'The connection does not exist.')
const connectionNotInGroup = () => new HttpError(404, 'Error.Connection.NotExisted', 'The connection does not exist.')
const userMissing = () => new HttpError(404, 'Warning.User.NotExisted', 'The user has no connection.')
const groupMissing = () => new HttpError(404, 'Warning.Group.NotExisted', 'The group has no connection.')
const userNotInGroup = () => new HttpError(404, 'Info.User.NotInGroup', 'The user is not in the group.')

const send = ({ message, excluded }: Call, connections: ClientConnection[]): void => {
  // Encoding is lazy: a message for nobody costs nothing.
  if (message) sendTo(connections, invocationFrame(message.target, message.arguments), excluded)
}

const closeAll = ({ reason, excluded }: Call, connections: ClientConnection[]): void => {
  // allowReconnect as Microsoft's emulator sends it: a client with automatic reconnect comes back.
  for (const connection of connections) if (!excluded.has(connection.connectionId)) connection.close(reason, true)
}

const present = <T>(value: T | undefined, missing: () => HttpError): T => {
  if (value === undefined) throw missing()
  return value
}

/** What each operation does; a missing target throws the HttpError for it where the service reports one. */
export const operations: Readonly<Record<Operation, (call: Call) => void>> = {
  broadcast: (call) => send(call, call.hub?.connections() ?? []),
  sendToUser: (call) => send(call, call.hub?.connectionsOfUser(call.parameters.user) ?? []),
  sendToGroup: (call) => send(call, call.hub?.connectionsOfGroup(call.parameters.group) ?? []),
  // 202 also for a connection that is gone: the service accepts first and delivers later.
  sendToConnection(call) {
    const connection = call.hub?.connection(call.parameters.connection)
    if (connection) send(call, [connection])
  },

  closeConnections: (call) => closeAll(call, call.hub?.connections() ?? []),
  closeGroupConnections: (call) => closeAll(call, call.hub?.connectionsOfGroup(call.parameters.group) ?? []),
  closeUserConnections: (call) => closeAll(call, call.hub?.connectionsOfUser(call.parameters.user) ?? []),
  closeConnection: (call) =>
    present(call.hub?.connection(call.parameters.connection), connectionMissing).close(call.reason, true),

  checkConnection: ({ hub, parameters }) => void present(hub?.connection(parameters.connection), connectionMissing),
  checkGroup: ({ hub, parameters }) => void present(hub?.connectionsOfGroup(parameters.group)[0], groupMissing),
  checkUser: ({ hub, parameters }) => void present(hub?.connectionsOfUser(parameters.user)[0], userMissing),
  checkUserInGroup({ hub, parameters }) {
    if (!hub?.isUserInGroup(parameters.user, parameters.group)) throw userNotInGroup()
  },

  addConnectionToGroup({ hub, parameters }) {
    const connection = present(hub?.connection(parameters.connection), connectionNotInGroup)
    hub?.addToGroup(connection, parameters.group)
  },
  removeConnectionFromGroup({ hub, parameters }) {
    const connection = present(hub?.connection(parameters.connection), connectionNotInGroup)
    if (!hub?.removeFromGroup(connection, parameters.group)) throw connectionNotInGroup()
  },
  removeConnectionFromAllGroups({ hub, parameters }) {
    const connection = hub?.connection(parameters.connection)
    if (connection) hub?.removeFromAllGroups(connection)
  },

  addUserToGroup: ({ openHub, parameters, ttlSeconds }) =>
    openHub().addUserToGroup(parameters.user, parameters.group, ttlSeconds),
  removeUserFromGroup: ({ hub, parameters }) => hub?.removeUserFromGroup(parameters.user, parameters.group),
  removeUserFromAllGroups: ({ hub, parameters }) => hub?.removeUserFromAllGroups(parameters.user),
}
