import { expect, it } from 'vitest'

import { createHub } from './hub.ts'

it('keeps a user in the 100 latest groups without a ttl, and in all with one', () => {
  const hub = createHub(() => 0)
  hub.addUserToGroup('u', 'with-ttl', 60)
  for (let index = 0; index < 101; index++) hub.addUserToGroup('u', `g${index}`, undefined)
  expect(hub.isUserInGroup('u', 'g0')).toBe(false)
  expect(hub.isUserInGroup('u', 'g1')).toBe(true)
  expect(hub.isUserInGroup('u', 'g100')).toBe(true)
  expect(hub.isUserInGroup('u', 'with-ttl')).toBe(true)
})

it('counts a renewed group among the latest', () => {
  const hub = createHub(() => 0)
  for (let index = 0; index < 100; index++) hub.addUserToGroup('u', `g${index}`, undefined)
  hub.addUserToGroup('u', 'g0', undefined)
  hub.addUserToGroup('u', 'g100', undefined)
  expect(hub.isUserInGroup('u', 'g0')).toBe(true)
  expect(hub.isUserInGroup('u', 'g1')).toBe(false)
})

it('is empty again when every membership has ended or was removed', () => {
  let now = 0
  const hub = createHub(() => now)
  expect(hub.isEmpty()).toBe(true)
  hub.addUserToGroup('u', 'g', 0)
  expect(hub.isEmpty()).toBe(true)
  hub.addUserToGroup('u', 'g', 60)
  hub.addUserToGroup('v', 'g', undefined)
  expect(hub.isEmpty()).toBe(false)
  now = 60_000
  expect(hub.isUserInGroup('u', 'g')).toBe(false)
  hub.removeUserFromGroup('v', 'g')
  expect(hub.isEmpty()).toBe(true)
})
