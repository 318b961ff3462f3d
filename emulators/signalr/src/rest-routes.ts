/** `v1` is everything under /api/v1; `dated` the versions that come as api-version, from 2022-06-01 on. */
export type ApiVersion = 'v1' | 'dated'

export type Operation =
  | 'broadcast'
  | 'sendToUser'
  | 'sendToConnection'
  | 'sendToGroup'
  | 'closeConnections'
  | 'closeGroupConnections'
  | 'closeUserConnections'
  | 'closeConnection'
  | 'checkConnection'
  | 'checkGroup'
  | 'checkUser'
  | 'checkUserInGroup'
  | 'addConnectionToGroup'
  | 'removeConnectionFromGroup'
  | 'removeConnectionFromAllGroups'
  | 'addUserToGroup'
  | 'removeUserFromGroup'
  | 'removeUserFromAllGroups'

export type RouteParameters = { hub: string; user: string; group: string; connection: string }
export type Route = { operation: Operation; status: number; parameters: RouteParameters }

type Entry = [version: ApiVersion, methods: string, path: string, operation: Operation, successStatus: number]

/**
 * https://github.com/Azure/azure-signalr/blob/dev/docs/swagger/V20220601.json and v1.json in the same folder. GET stands beside
 * HEAD for the checks because the service takes both and its .NET SDK sends GET for one of them.
 */
const entries: Entry[] = [
  ['dated', 'POST', '{hub}/:send', 'broadcast', 202],
  ['dated', 'POST', '{hub}/users/{user}/:send', 'sendToUser', 202],
  ['dated', 'POST', '{hub}/connections/{connection}/:send', 'sendToConnection', 202],
  ['dated', 'POST', '{hub}/groups/{group}/:send', 'sendToGroup', 202],
  ['dated', 'POST', '{hub}/:closeConnections', 'closeConnections', 204],
  ['dated', 'POST', '{hub}/groups/{group}/:closeConnections', 'closeGroupConnections', 204],
  ['dated', 'POST', '{hub}/users/{user}/:closeConnections', 'closeUserConnections', 204],
  ['dated', 'DELETE', '{hub}/connections/{connection}', 'closeConnection', 200],
  ['dated', 'HEAD GET', '{hub}/connections/{connection}', 'checkConnection', 200],
  ['dated', 'HEAD GET', '{hub}/groups/{group}', 'checkGroup', 200],
  ['dated', 'HEAD GET', '{hub}/users/{user}', 'checkUser', 200],
  ['dated', 'PUT', '{hub}/groups/{group}/connections/{connection}', 'addConnectionToGroup', 200],
  ['dated', 'DELETE', '{hub}/groups/{group}/connections/{connection}', 'removeConnectionFromGroup', 200],
  ['dated', 'DELETE', '{hub}/connections/{connection}/groups', 'removeConnectionFromAllGroups', 200],
  ['dated', 'HEAD GET', '{hub}/users/{user}/groups/{group}', 'checkUserInGroup', 200],
  ['dated', 'PUT', '{hub}/users/{user}/groups/{group}', 'addUserToGroup', 200],
  ['dated', 'DELETE', '{hub}/users/{user}/groups/{group}', 'removeUserFromGroup', 204],
  ['dated', 'DELETE', '{hub}/users/{user}/groups', 'removeUserFromAllGroups', 204],
  ['v1', 'POST', '{hub}', 'broadcast', 202],
  ['v1', 'POST', '{hub}/users/{user}', 'sendToUser', 202],
  ['v1', 'POST', '{hub}/connections/{connection}', 'sendToConnection', 202],
  ['v1', 'POST', '{hub}/groups/{group}', 'sendToGroup', 202],
  ['v1', 'DELETE', '{hub}/connections/{connection}', 'closeConnection', 202],
  ['v1', 'HEAD GET', '{hub}/connections/{connection}', 'checkConnection', 200],
  ['v1', 'HEAD GET', '{hub}/groups/{group}', 'checkGroup', 200],
  ['v1', 'HEAD GET', '{hub}/users/{user}', 'checkUser', 200],
  ['v1', 'PUT', '{hub}/groups/{group}/connections/{connection}', 'addConnectionToGroup', 200],
  ['v1', 'DELETE', '{hub}/groups/{group}/connections/{connection}', 'removeConnectionFromGroup', 200],
  ['v1', 'HEAD GET', '{hub}/groups/{group}/users/{user}', 'checkUserInGroup', 200],
  ['v1', 'PUT', '{hub}/groups/{group}/users/{user}', 'addUserToGroup', 202],
  ['v1', 'DELETE', '{hub}/groups/{group}/users/{user}', 'removeUserFromGroup', 202],
  ['v1', 'DELETE', '{hub}/users/{user}/groups', 'removeUserFromAllGroups', 200],
]

type Compiled = { methods: string[]; pattern: string[]; operation: Operation; status: number }

const routes: Readonly<Record<ApiVersion, Compiled[]>> = { dated: [], v1: [] }
for (const [version, methods, path, operation, status] of entries) {
  routes[version].push({ methods: methods.split(' '), pattern: path.split('/'), operation, status })
}

const isParameter = (part: string): boolean => part.startsWith('{')

/** The route for the segments after /hubs/: 'not-found' or 'not-allowed' (with the methods that are) otherwise. */
export function matchRoute(version: ApiVersion, method: string, segments: string[]): Route | { allow: string[] } {
  const allow: string[] = []
  for (const { methods, pattern, operation, status } of routes[version]) {
    if (pattern.length !== segments.length) continue
    if (!pattern.every((part, index) => isParameter(part) || part === segments[index])) continue
    if (!methods.includes(method)) {
      allow.push(...methods)
      continue
    }
    const parameters = { hub: '', user: '', group: '', connection: '' }
    pattern.forEach((part, index) => {
      if (isParameter(part)) parameters[part.slice(1, -1) as keyof RouteParameters] = segments[index] as string
    })
    return { operation, status, parameters }
  }
  return { allow }
}
