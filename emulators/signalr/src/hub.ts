import type { ClientConnection } from './client-connection.ts'
import type { HubFrame } from './hub-message.ts'

/** A user's membership of a group, which later connections of the user inherit. */
type UserMembership = { expiresAt: number; hasTtl: boolean }

/** Without a TTL the service keeps a user in at most 100 groups, the latest ones, and for a year. */
const maxUserGroups = 100
const defaultMembershipMs = 365 * 24 * 60 * 60 * 1000
/** Users with memberships a hub, so that a client of the REST API cannot fill the memory; the oldest user gives way. */
const maxUsersWithGroups = 100_000

export type Hub = ReturnType<typeof createHub>

/** The connections, users and groups of one hub. Names of users and groups are case-sensitive. */
export function createHub(now: () => number) {
  const connections = new Map<string, ClientConnection>()
  const users = new Map<string, Set<ClientConnection>>()
  const groups = new Map<string, Set<ClientConnection>>()
  const memberships = new Map<string, Map<string, UserMembership>>()

  const join = (connection: ClientConnection, group: string, expiresAt: number): void => {
    const known = connection.groups.get(group)
    connection.groups.set(group, known === undefined ? expiresAt : Math.max(known, expiresAt))
    const members = groups.get(group)
    if (members) members.add(connection)
    else groups.set(group, new Set([connection]))
  }

  const leave = (connection: ClientConnection, group: string): boolean => {
    if (!connection.groups.delete(group)) return false
    const members = groups.get(group)
    members?.delete(connection)
    if (members?.size === 0) groups.delete(group)
    return true
  }

  const membersOf = (group: string): ClientConnection[] => {
    const time = now()
    const members: ClientConnection[] = []
    for (const connection of groups.get(group) ?? []) {
      if ((connection.groups.get(group) ?? 0) > time) members.push(connection)
      else leave(connection, group)
    }
    return members
  }

  const membershipsOf = (user: string): Map<string, UserMembership> => {
    const known = memberships.get(user)
    if (!known) return new Map()
    for (const [group, { expiresAt }] of known) if (expiresAt <= now()) known.delete(group)
    if (known.size === 0) memberships.delete(user)
    return known
  }

  const remember = (user: string, group: string, membership: UserMembership): void => {
    const known = membershipsOf(user)
    known.delete(group)
    known.set(group, membership)
    memberships.set(user, known)
    if (memberships.size > maxUsersWithGroups) memberships.delete(memberships.keys().next().value as string)
    if (membership.hasTtl) return
    const withoutTtl = [...known].filter(([, { hasTtl }]) => !hasTtl)
    const oldest = withoutTtl[0]
    if (withoutTtl.length > maxUserGroups && oldest) known.delete(oldest[0])
  }

  const hub = {
    isEmpty: (): boolean => connections.size === 0 && memberships.size === 0,
    connection: (id: string): ClientConnection | undefined => connections.get(id),
    connections: (): ClientConnection[] => [...connections.values()],
    connectionsOfUser: (user: string): ClientConnection[] => [...(users.get(user) ?? [])],
    connectionsOfGroup: membersOf,

    add(connection: ClientConnection): void {
      connections.set(connection.connectionId, connection)
      const { user } = connection
      if (user === undefined) return
      const own = users.get(user)
      if (own) own.add(connection)
      else users.set(user, new Set([connection]))
      for (const [group, { expiresAt }] of membershipsOf(user)) join(connection, group, expiresAt)
    },

    remove(connection: ClientConnection): void {
      connections.delete(connection.connectionId)
      for (const group of [...connection.groups.keys()]) leave(connection, group)
      if (connection.user === undefined) return
      const own = users.get(connection.user)
      own?.delete(connection)
      if (own?.size === 0) users.delete(connection.user)
    },

    addToGroup: (connection: ClientConnection, group: string): void => join(connection, group, Infinity),
    removeFromGroup: leave,
    removeFromAllGroups(connection: ClientConnection): void {
      for (const group of [...connection.groups.keys()]) leave(connection, group)
    },

    isUserInGroup: (user: string, group: string): boolean =>
      membershipsOf(user).has(group) || membersOf(group).some((member) => member.user === user),

    /** `ttlSeconds` 0 adds only the connections that the user has now; undefined means a year. */
    addUserToGroup(user: string, group: string, ttlSeconds: number | undefined): void {
      const hasTtl = ttlSeconds !== undefined
      const expiresAt = now() + (hasTtl ? ttlSeconds * 1000 : defaultMembershipMs)
      if (ttlSeconds !== 0) remember(user, group, { expiresAt, hasTtl })
      for (const connection of users.get(user) ?? []) join(connection, group, ttlSeconds === 0 ? Infinity : expiresAt)
    },

    removeUserFromGroup(user: string, group: string): void {
      const known = membershipsOf(user)
      known.delete(group)
      if (known.size === 0) memberships.delete(user)
      for (const connection of users.get(user) ?? []) leave(connection, group)
    },

    removeUserFromAllGroups(user: string): void {
      memberships.delete(user)
      for (const connection of users.get(user) ?? []) hub.removeFromAllGroups(connection)
    },

    clearGroups(): void {
      memberships.clear()
      for (const connection of connections.values()) hub.removeFromAllGroups(connection)
    },

    /** Sizes for the control API. */
    describe: () => ({
      users: [...users.keys()],
      groups: Object.fromEntries([...groups.keys()].map((group) => [group, membersOf(group).length])),
    }),
  }
  return hub
}

/** Sends one message to each of the connections but the excluded ones. */
export function sendTo(
  connections: Iterable<ClientConnection>,
  message: HubFrame,
  excluded: ReadonlySet<string>,
): void {
  for (const connection of connections) if (!excluded.has(connection.connectionId)) connection.send(message)
}
