import type { IncomingMessage, ServerResponse } from 'node:http'

import type { ClientConnection } from './client-connection.ts'
import type { ClientSessions } from './client-sessions.ts'
import type { Drop, Faults } from './faults.ts'
import { InvalidFaultError, parseFaults } from './faults.ts'
import { HttpError, readBody, sendJson } from './http-exchange.ts'
import type { HubRegistry } from './hub-registry.ts'

const maxListed = 1_000

type Deps = {
  hubs: HubRegistry
  sessions: ClientSessions
  faults: Faults
  rest: { counters: { calls: number; refused: number } }
}

/** /_control/: what the emulator holds, and faults on purpose. Not part of the service. */
export function createControlEndpoint({ hubs, sessions, faults, rest }: Deps) {
  const state = () => ({
    hubs: Object.fromEntries(
      hubs.entries().map(([name, hub]) => [
        name,
        {
          connectionCount: hub.connections().length,
          connections: hub.connections().slice(0, maxListed).map(describe),
          ...hub.describe(),
        },
      ]),
    ),
    faults: faults.list(),
    rest: rest.counters,
    clients: sessions.counters,
  })

  const drop = ({ hub, user, connectionId }: Drop): number => {
    const doomed = hubs
      .connections()
      .filter(
        (connection) =>
          (hub === undefined || connection.hub === hub.toLowerCase()) &&
          (user === undefined || connection.user === user) &&
          (connectionId === undefined || connection.connectionId === connectionId),
      )
    for (const connection of doomed) connection.drop('dropped by a fault')
    return doomed.length
  }

  const addFaults = async (request: IncomingMessage): Promise<object> => {
    const body = await readBody(request, 1024 * 1024)
    try {
      const parsed = parseFaults(JSON.parse(body.toString()))
      faults.add(parsed.faults)
      return { dropped: parsed.drops.reduce((count, fault) => count + drop(fault), 0), faults: faults.list() }
    } catch (error) {
      if (error instanceof InvalidFaultError || error instanceof SyntaxError) {
        throw new HttpError(400, 'BadRequest', error.message)
      }
      throw error
    }
  }

  return {
    async handle(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
      switch (`${request.method} ${path}`) {
        case 'GET /_control/state':
          return sendJson(response, 200, state())
        case 'POST /_control/faults':
          return sendJson(response, 200, await addFaults(request))
        case 'DELETE /_control/faults':
          faults.clear()
          return void response.writeHead(204).end()
        case 'POST /_control/reset':
          faults.clear()
          for (const [, hub] of hubs.entries()) hub.clearGroups()
          sessions.closeAll('The service was reset.', true)
          return void response.writeHead(204).end()
        default:
          throw new HttpError(404, 'NotFound', 'Not found.')
      }
    },
  }
}

const describe = (connection: ClientConnection) => ({
  connectionId: connection.connectionId,
  user: connection.user,
  transport: connection.transport,
  protocol: connection.protocol,
  groups: [...connection.groups.keys()],
  openedAt: new Date(connection.openedAt).toISOString(),
  sentMessages: connection.sentMessages,
  bufferedBytes: connection.bufferedBytes,
  userAgent: connection.userAgent,
})
