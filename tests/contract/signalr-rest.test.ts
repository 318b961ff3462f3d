import { request } from 'node:http'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { event } from './signalr-app.ts'
import type { SignalRApp } from './signalr-app.ts'
import { onAzure, openSignalR } from './signalr-service.ts'

const waiting = { timeout: 10_000, interval: 10 }
const day = 24 * 60 * 60 * 1000

let close: () => Promise<void>
let app: SignalRApp
let clockOffsetMs = 0

beforeEach(async () => {
  clockOffsetMs = 0
  // Tokens of these tests live as long as the clock may jump; the limits keep clients alive across the jumps.
  const opened = await openSignalR({
    clock: () => Date.now() + clockOffsetMs,
    limits: { clientTimeoutMs: 1e12, disconnectTimeoutMs: 1e12 },
  })
  app = opened.app
  close = opened.close
})
afterEach(() => close())

const longToken = (path: string) => app.sign(`${app.audience}${path}`, {}, Date.now() + 400 * day)
const errorOf = async (response: Response) => ({
  status: response.status,
  code: response.headers.get('x-ms-error-code'),
  body: (await response.text().then((text) => (text === '' ? undefined : JSON.parse(text)))) as unknown,
})

describe('the older API under /api/v1', () => {
  it('sends to a hub, a user, a group and a connection with 202', async () => {
    const client = await app.connect({ hub: 'chat', user: 'u1' })
    const base = '/api/v1/hubs/chat'
    expect((await app.call('PUT', `${base}/groups/g/connections/${client.connectionId}`)).status).toBe(200)
    for (const path of ['', '/users/u1', '/groups/g', `/connections/${client.connectionId}`]) {
      // v1 documents the fields with capitals.
      const body = { Target: 'event', Arguments: [path] }
      expect((await app.call('POST', `${base}${path}`, { body })).status).toBe(202)
    }
    await expect.poll(() => client.received.length, waiting).toBe(4)
  })

  it('answers checks, group changes and closing with its own status codes', async () => {
    const client = await app.connect({ hub: 'chat', user: 'u1' })
    const base = '/api/v1/hubs/chat'
    const status = async (method: string, path: string) => (await app.call(method, `${base}${path}`)).status
    expect(await status('GET', `/connections/${client.connectionId}`)).toBe(200)
    expect(await status('GET', '/users/u1')).toBe(200)
    expect(await status('GET', '/groups/g')).toBe(404)
    expect(await status('PUT', '/groups/g/users/u1')).toBe(202)
    expect(await status('GET', '/groups/g/users/u1')).toBe(200)
    expect(await status('GET', '/groups/g')).toBe(200)
    expect(await status('DELETE', '/groups/g/users/u1')).toBe(202)
    expect(await status('GET', '/groups/g/users/u1')).toBe(404)
    expect(await status('DELETE', '/users/u1/groups')).toBe(200)
    expect(await status('DELETE', `/connections/${client.connectionId}`)).toBe(202)
    await client.closed
    expect((await app.call('HEAD', '/api/v1/health')).status).toBe(200)
  })

  it('does not know the operations of later versions', async () => {
    expect((await app.call('POST', '/api/v1/hubs/chat/:closeConnections')).status).toBe(404)
  })
})

describe('groups', () => {
  const base = '/api/hubs/chat'

  it('reports every absence with its code', async () => {
    const client = await app.connect({ hub: 'chat', user: 'u1' })
    const absent = async (method: string, path: string) => errorOf(await app.call(method, `${base}${path}`))
    expect(await absent('HEAD', '/connections/none')).toMatchObject({
      status: 404,
      code: 'Warning.Connection.NotExisted',
    })
    expect(await absent('DELETE', '/connections/none')).toMatchObject({
      status: 404,
      code: 'Warning.Connection.NotExisted',
    })
    expect(await absent('HEAD', '/users/none')).toMatchObject({ status: 404, code: 'Warning.User.NotExisted' })
    expect(await absent('HEAD', '/groups/none')).toMatchObject({ status: 404, code: 'Warning.Group.NotExisted' })
    expect(await absent('HEAD', '/users/u1/groups/none')).toMatchObject({ status: 404, code: 'Info.User.NotInGroup' })
    expect(await absent('PUT', '/groups/g/connections/none')).toMatchObject({
      status: 404,
      code: 'Error.Connection.NotExisted',
    })
    expect(await absent('DELETE', `/groups/g/connections/${client.connectionId}`)).toMatchObject({
      status: 404,
      code: 'Error.Connection.NotExisted',
      body: { code: 'Error.Connection.NotExisted' },
    })
    expect((await app.call('POST', `${base}/connections/none/:send`, { body: event() })).status).toBe(202)
    expect((await app.call('POST', `${base}/users/none/:send`, { body: event() })).status).toBe(202)
    expect((await app.call('POST', '/api/hubs/empty/:send', { body: event() })).status).toBe(202)
  })

  it('removes a connection from one group and from all', async () => {
    const client = await app.connect({ hub: 'chat' })
    const member = (group: string) => `${base}/groups/${group}/connections/${client.connectionId}`
    for (const group of ['a', 'b', 'c']) expect((await app.call('PUT', member(group))).status).toBe(200)
    expect((await app.call('DELETE', member('a'))).status).toBe(200)
    expect((await app.call('HEAD', `${base}/groups/a`)).status).toBe(404)
    expect((await app.call('HEAD', `${base}/groups/b`)).status).toBe(200)
    expect((await app.call('DELETE', `${base}/connections/${client.connectionId}/groups`)).status).toBe(200)
    expect((await app.call('HEAD', `${base}/groups/b`)).status).toBe(404)
    expect((await app.call('HEAD', `${base}/groups/c`)).status).toBe(404)
  })

  it('keeps a user in a group across connections, for all of them', async () => {
    expect((await app.call('PUT', `${base}/users/u1/groups/g`)).status).toBe(200)
    expect((await app.call('HEAD', `${base}/users/u1/groups/g`)).status).toBe(200)
    const first = await app.connect({ hub: 'chat', user: 'u1' })
    const second = await app.connect({ hub: 'chat', user: 'u1' })
    await app.call('POST', `${base}/groups/g/:send`, { body: event('both') })
    await expect.poll(() => [...first.received, ...second.received], waiting).toEqual([['both'], ['both']])
    expect((await app.call('DELETE', `${base}/users/u1/groups/g`)).status).toBe(204)
    await app.call('POST', `${base}/groups/g/:send`, { body: event('nobody') })
    await app.call('POST', `${base}/:send`, { body: event('all') })
    await expect.poll(() => first.received, waiting).toEqual([['both'], ['all']])
  })

  it.skipIf(onAzure)('ends a membership with a ttl on time', async () => {
    const client = await app.connect({ hub: 'chat', user: 'u1' })
    await app.call('PUT', `${base}/users/u1/groups/g`, { query: { ttl: '60' } })
    expect((await app.call('HEAD', `${base}/groups/g`)).status).toBe(200)
    const token = await longToken(`${base}/groups/g`)
    clockOffsetMs = 61_000
    expect((await app.call('HEAD', `${base}/groups/g`, { token })).status).toBe(404)
    const sendToken = await longToken(`${base}/groups/g/:send`)
    await app.call('POST', `${base}/groups/g/:send`, { body: event('late'), token: sendToken })
    const broadcast = await longToken(`${base}/:send`)
    await app.call('POST', `${base}/:send`, { body: event('all'), token: broadcast })
    await expect.poll(() => client.received, waiting).toEqual([['all']])
  })

  it('adds only the present connections with a ttl of 0', async () => {
    const present = await app.connect({ hub: 'chat', user: 'u1' })
    await app.call('PUT', `${base}/users/u1/groups/g`, { query: { ttl: '0' } })
    const later = await app.connect({ hub: 'chat', user: 'u1' })
    await app.call('POST', `${base}/groups/g/:send`, { body: event('present') })
    await app.call('POST', `${base}/:send`, { body: event('all') })
    await expect.poll(() => present.received, waiting).toEqual([['present'], ['all']])
    await expect.poll(() => later.received, waiting).toEqual([['all']])
  })

  it('removes a user from all groups', async () => {
    await app.connect({ hub: 'chat', user: 'u1' })
    for (const group of ['a', 'b']) await app.call('PUT', `${base}/users/u1/groups/${group}`)
    expect((await app.call('DELETE', `${base}/users/u1/groups`)).status).toBe(204)
    for (const group of ['a', 'b'])
      expect((await app.call('HEAD', `${base}/users/u1/groups/${group}`)).status).toBe(404)
  })

  it('prefixes the hub with an application', async () => {
    const client = await app.connect({ hub: `shop_${app.prefixed('/hubs/chat').slice('/hubs/'.length)}` })
    await app.call('POST', `${base}/:send`, { query: { application: 'Shop' }, body: event('app') })
    await expect.poll(() => client.received, waiting).toEqual([['app']])
  })
})

describe('tokens', () => {
  const path = '/api/hubs/chat/:send'
  const send = async (token: string) => app.call('POST', path, { body: event(), token })

  it.each([
    ['another path', '/api/hubs/other/:send'],
    ['a client path', '/client/?hub=chat'],
    ['no path', ''],
  ])('refuses the audience of %s', async (_, other) => {
    const response = await send(await app.sign(`${app.audience}${other}`))
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toBe(
      'Bearer error="invalid_token", error_description="The audience is invalid"',
    )
  })

  it('refuses another host, another port, another key, an expired token and none', async () => {
    const audience = `${app.audience}${path}`
    const refused = [
      await app.sign(`http://elsewhere.example${path}`),
      await app.sign(`http://127.0.0.1:1${path}`),
      await app.sign(audience, {}, Date.now() + 60_000, 'another-key-of-the-same-length-0123456789'),
      await app.sign(audience, {}, Date.now() - 60_000),
      `${await app.sign(audience)}x`,
      'not-a-token',
    ]
    for (const token of refused) {
      const response = await send(token)
      expect(response.status).toBe(401)
      expect(response.headers.get('www-authenticate')).toMatch(/^Bearer error="invalid_token"/)
    }
    const none = await app.call('POST', path, { body: event(), headers: { authorization: '' } })
    expect(none.status).toBe(401)
    expect(none.headers.get('www-authenticate')).toBe('Bearer')
  })

  it('refuses an unsigned token and one without expiry', async () => {
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const claims = { aud: `${app.audience}${path}`, exp: Math.floor(Date.now() / 1000) + 60 }
    expect((await send(`${encode({ alg: 'none' })}.${encode(claims)}.`)).status).toBe(401)
    const { SignJWT } = await import('jose')
    const unending = new SignJWT({ aud: claims.aud }).setProtectedHeader({ alg: 'HS256' })
    expect((await send(await unending.sign(new TextEncoder().encode(app.accessKey)))).status).toBe(401)
  })

  it.skipIf(onAzure)(
    'takes the port in the audience, an audience among others, and another name of this machine',
    async () => {
      const own = `${app.url}${path}`
      expect((await send(await app.sign(own))).status).toBe(202)
      expect((await send(await app.sign(own.replace('127.0.0.1', 'localhost')))).status).toBe(202)
      const { SignJWT } = await import('jose')
      const two = new SignJWT()
        .setAudience(['http://other', own])
        .setExpirationTime('1m')
        .setProtectedHeader({ alg: 'HS256' })
      expect((await send(await two.sign(new TextEncoder().encode(app.accessKey)))).status).toBe(202)
    },
  )

  it.skipIf(onAzure)('refuses a token that was good until it expired', async () => {
    const token = await app.sign(`${app.audience}${path}`)
    expect((await send(token)).status).toBe(202)
    clockOffsetMs = 61_000
    const late = await send(token)
    expect(late.status).toBe(401)
    expect(late.headers.get('www-authenticate')).toContain('The token expired at')
  })
})

describe('bad requests', () => {
  const path = '/api/hubs/chat/:send'
  const send = (body: unknown, headers: Record<string, string> = {}) => app.call('POST', path, { body, headers })

  it.each([
    ['an empty body', ''],
    ['no JSON', '{"target":'],
    ['an array', []],
    ['null', 'null'],
    ['no target', { arguments: [] }],
    ['an empty target', { target: '' }],
    ['a numeric target', { target: 1 }],
    ['values nested beyond 64 levels', event(JSON.parse('['.repeat(65) + ']'.repeat(65)))],
    ['half a megabyte of brackets', `{"target":"event","arguments":${'['.repeat(500_000)}`],
    ['arguments that are no array', { target: 'event', arguments: { 0: 'x' } }],
  ])('refuses %s with 400', async (_, body) => {
    expect(await errorOf(await send(body))).toMatchObject({
      status: 400,
      code: 'BadRequest',
      body: { code: 'BadRequest' },
    })
  })

  it('refuses invalid UTF-8 and another media type', async () => {
    const token = await app.sign(`${app.audience}${path}`)
    const raw = (body: Uint8Array<ArrayBuffer> | string, type: string) =>
      fetch(app.prefixed(`${app.url}${path}?api-version=2022-06-01`), {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': type },
        body,
      })
    expect((await raw(new Uint8Array([0x22, 0xff, 0x22]), 'application/json')).status).toBe(400)
    expect((await raw('{"target":"event"}', 'text/plain')).status).toBe(415)
  })

  it('takes a body of one MiB and refuses a larger one with 413, declared or streamed', async () => {
    const frame = JSON.stringify(event(''))
    const fitting = JSON.stringify(event('x'.repeat(1024 * 1024 - frame.length)))
    expect(Buffer.byteLength(fitting)).toBe(1024 * 1024)
    const client = await app.connect({ hub: 'chat' })
    expect((await send(fitting)).status).toBe(202)
    await expect.poll(() => client.received.length, waiting).toBe(1)
    expect(await errorOf(await send(`${fitting} `))).toMatchObject({ status: 413, code: 'PayloadTooLarge' })

    const token = await app.sign(`${app.audience}${path}`)
    const status = await new Promise((resolve, reject) => {
      const streaming = request(app.prefixed(`${app.url}${path}?api-version=2022-06-01`), {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      })
      streaming.on('response', (response) => {
        resolve(response.statusCode)
        response.resume()
        streaming.destroy()
      })
      streaming.on('error', reject)
      streaming.write(Buffer.alloc(1024 * 1024 + 1, 0x20))
    })
    expect(status).toBe(413)
  })

  it.each([
    ['POST', '/api/hubs/1chat/:send', 400],
    ['POST', '/api/hubs/my-chat/:send', 400],
    ['HEAD', `/api/hubs/chat/groups/${'g'.repeat(1025)}`, 400],
    ['HEAD', '/api/hubs/chat/groups/%20', 400],
    ['PUT', '/api/hubs/chat/:send', 405],
    ['POST', '/api/hubs/chat', 404],
    ['GET', '/api/nothing', 404],
    ['GET', '/elsewhere', 404],
  ])('answers %s %s with %i', async (method, path, status) => {
    expect((await app.call(method, path, method === 'POST' ? { body: event() } : {})).status).toBe(status)
  })

  it('needs a known api-version, a valid application and a valid ttl', async () => {
    const token = await app.sign(`${app.audience}${path}`)
    const post = async (query: string) =>
      (
        await fetch(app.prefixed(`${app.url}${path}${query}`), {
          method: 'POST',
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
          body: JSON.stringify(event()),
        })
      ).status
    expect(await post('')).toBe(400)
    expect(await post('?api-version=1999-01-01')).toBe(400)
    expect(await post('?api-version=2022-06-01&application=a-b')).toBe(400)
    expect(await post('?api-version=2022-06-01')).toBe(202)
    for (const ttl of ['-1', '1.5', 'x']) {
      expect((await app.call('PUT', '/api/hubs/chat/users/u/groups/g', { query: { ttl } })).status).toBe(400)
    }
  })

  it('refuses a malformed path and headers past 16 KiB', async () => {
    const path = '/api/hubs/%E0%A4%A/:send'
    expect((await app.call('POST', path, { body: event() })).status).toBe(400)
    expect((await send(event(), { 'x-large': 'x'.repeat(17 * 1024) })).status).toBe(431)
  })

  it('reports its health without a token', async () => {
    expect((await fetch(`${app.url}/api/health?api-version=2022-06-01`, { method: 'HEAD' })).status).toBe(200)
  })
})
