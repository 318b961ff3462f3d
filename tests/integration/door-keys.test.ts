import { execFile } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { createEntraTokens } from '../../services/ingest/src/entra-tokens.ts'
import { chatLine, type DoorFixture, platformKey, startDoor } from './ingest-fixture.ts'

const audience = 'api://sluice'
let issuer: Awaited<ReturnType<typeof startIssuer>>
let door: DoorFixture

beforeAll(async () => {
  issuer = await startIssuer()
  door = await startDoor({
    platform: (config) => ({
      ...config,
      access: {
        ...config.access,
        entra: {
          issuer: issuer.url,
          audience,
          clock_skew_seconds: 60,
          tenants: { 'app-of-contoso': 'contoso' },
          scopes: { 'Requests.Submit': ['submit'], 'Requests.Read': ['read'] },
        },
      },
    }),
  })
}, 60_000)
afterAll(async () => {
  await door.stop()
  await issuer.close()
}, 60_000)

/** An issuer's discovery document and keys over a real socket. */
async function startIssuer() {
  const published: JWK[] = []
  let fetched = 0
  const server: Server = createServer((request, response) => {
    const { port } = server.address() as AddressInfo
    if (request.url === '/keys') fetched++
    const body = request.url === '/keys' ? { keys: published } : { jwks_uri: `http://127.0.0.1:${port}/keys` }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const addKey = async (kid: string) => {
    const { publicKey, privateKey } = await generateKeyPair('RS256')
    published.push({ ...(await exportJWK(publicKey)), kid, alg: 'RS256', use: 'sig' })
    return privateKey
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    addKey,
    fetched: () => fetched,
    close: () => new Promise<void>((resolve) => (server.close(() => resolve()), server.closeAllConnections())),
  }
}

type Signer = Awaited<ReturnType<typeof issuer.addKey>>
type Key = { id: string; key: string; tenant: string; scopes: string[]; expires_at: string | null; disabled: boolean }
const make = async (fields: object, key = platformKey): Promise<Key> => {
  const answer = await door.api('/v1/keys', { json: fields, key })
  expect(answer.status).toBe(201)
  return (await answer.json()) as Key
}
const mayRead = async (key: string, headers: Record<string, string> = {}): Promise<number> =>
  (await door.api('/v1/requests', { key: headers['api-key'] === undefined ? key : null, headers })).status

describe('a key', () => {
  test('is taken from each of the three headers, and from no other place', async () => {
    const { key } = await make({ scopes: ['read'] })
    expect(await mayRead(key)).toBe(200)
    for (const name of ['api-key', 'ocp-apim-subscription-key']) {
      expect((await door.api('/v1/requests', { key: null, headers: { [name]: key } })).status).toBe(200)
    }
    expect((await door.api(`/v1/requests?key=${key}`, { key: null })).status).toBe(401)
  })

  test('may do what its scopes say', async () => {
    const reader = await make({ scopes: ['read'] })
    expect((await door.api('/v1/requests', { json: chatLine('x'), key: reader.key })).status).toBe(403)
    const sender = await make({ scopes: ['submit'] })
    expect((await door.api('/v1/requests', { json: chatLine('x'), key: sender.key })).status).toBe(202)
    expect(await mayRead(sender.key)).toBe(403)
    expect((await door.api('/v1/keys', { json: { scopes: ['read'] }, key: sender.key })).status).toBe(403)
  })

  test('sees nothing of another tenant', async () => {
    const mine = await make({ scopes: ['submit', 'read'], tenant: 'contoso' })
    const theirs = await make({ scopes: ['submit', 'read'], tenant: 'fabrikam' })
    const made = (await (await door.api('/v1/requests', { json: chatLine('m'), key: mine.key })).json()) as {
      id: string
    }
    for (const path of ['', '/events', '/deliveries', '?wait=1']) {
      expect((await door.api(`/v1/requests/${made.id}${path}`, { key: theirs.key })).status).toBe(404)
    }
    expect((await door.api(`/v1/requests/${made.id}`, { method: 'DELETE', key: theirs.key })).status).toBe(404)
    expect(await (await door.api('/v1/requests', { key: theirs.key })).json()).toMatchObject({ data: [] })
    const foreign = await door.api('/v1/requests', { json: chatLine('m', { tenant: 'contoso' }), key: theirs.key })
    expect(foreign.status).toBe(403)
  })

  test('that is wrong, empty or absent is a 401 that asks for a bearer', async () => {
    for (const init of [{ key: 'sk-sluice-wrong' }, { key: '' }, { key: null }, { key: `${platformKey}x` }]) {
      const answer = await door.api('/v1/requests', init)
      expect(answer.status).toBe(401)
      expect(answer.headers.get('www-authenticate')).toBe('Bearer')
      expect(await answer.json()).toMatchObject({ error: { code: 'unauthorized', type: 'authentication_error' } })
    }
  })

  test('is stored as a hash, shown once, and never logged', async () => {
    const { key, id } = await make({ scopes: ['read'] })
    await mayRead(key)
    const shown = await (await door.api(`/v1/keys/${id}`)).text()
    const rows = await door.cosmos.rows('keys').query({ sql: 'SELECT * FROM c', limit: 1000 })
    for (const text of [shown, JSON.stringify(rows), door.logs.join('\n')]) {
      expect(text).not.toContain(key)
      expect(text).not.toContain(platformKey)
    }
  })
})

describe('administration', () => {
  test('a tenant admin administers its tenant and nothing else', async () => {
    const admin = await make({ scopes: ['admin'], tenant: 'contoso' })
    const other = await make({ scopes: ['read'], tenant: 'fabrikam' })
    const made = await make({ scopes: ['read'], name: 'batch job' }, admin.key)
    expect(made.tenant).toBe('contoso')
    const listed = (await (await door.api('/v1/keys', { key: admin.key })).json()) as { data: Key[] }
    expect(new Set(listed.data.map(({ tenant }) => tenant))).toEqual(new Set(['contoso']))
    for (const fields of [
      { scopes: ['read'], tenant: 'fabrikam' },
      { scopes: ['admin'], platform: true },
    ]) {
      expect((await door.api('/v1/keys', { json: fields, key: admin.key })).status).toBe(403)
    }
    expect((await door.api('/v1/keys?tenant=fabrikam', { key: admin.key })).status).toBe(403)
    for (const init of [{}, { method: 'DELETE' }, { method: 'PATCH', json: { disabled: true } }]) {
      expect((await door.api(`/v1/keys/${other.id}`, { ...init, key: admin.key })).status).toBe(404)
    }
    expect(await mayRead(other.key)).toBe(200)
  })

  test('rotation: both keys work during the overlap, without one only the new one', async () => {
    const old = await make({ scopes: ['read'], limits: { requests_per_minute: 7 } })
    const rotate = async (id: string, overlap_seconds: number) =>
      (await (await door.api(`/v1/keys/${id}/rotate`, { json: { overlap_seconds } })).json()) as Key
    const fresh = await rotate(old.id, 3600)
    expect(fresh).toMatchObject({ scopes: ['read'], limits: { requests_per_minute: 7 } })
    expect([await mayRead(old.key), await mayRead(fresh.key)]).toEqual([200, 200])
    const last = await rotate(fresh.id, 0)
    expect([await mayRead(old.key), await mayRead(fresh.key), await mayRead(last.key)]).toEqual([200, 401, 200])
  })

  test('a queued request carries the limits of its key, the same name after a rotation', async () => {
    const old = await make({ scopes: ['submit'], limits: { tokens_per_minute: 900 } })
    const rotated = (await (
      await door.api(`/v1/keys/${old.id}/rotate`, { json: { overlap_seconds: 60 } })
    ).json()) as Key
    const stored = async (key: string, customId: string) => {
      const answer = await door.api('/v1/requests', { json: chatLine(customId), key })
      const { id } = (await answer.json()) as { id: string }
      return door.ledger.get('local', id)
    }
    const first = await stored(old.key, 'limited-1')
    expect(first?.key_limits).toEqual({ principal: expect.stringMatching(/^key-/), tokens_per_minute: 900 })
    expect((await stored(rotated.key, 'limited-2'))?.key_limits).toEqual(first?.key_limits)
    expect((await stored(platformKey, 'unlimited'))?.key_limits).toBeUndefined()
  })

  test('a change is known to every instance at once', async () => {
    const second = await door.another()
    const { id, key } = await make({ scopes: ['read'] })
    const there = async () =>
      (await fetch(`${second.url}/v1/requests`, { headers: { 'api-key': key }, signal: AbortSignal.timeout(10_000) }))
        .status
    expect(await there()).toBe(200)
    await door.api(`/v1/keys/${id}`, { method: 'PATCH', json: { disabled: true } })
    // Well below the time for which a row is believed.
    await vi.waitFor(async () => expect(await there()).toBe(401), { timeout: 8_000, interval: 20 })
    expect(await mayRead(key)).toBe(401)
    await door.api(`/v1/keys/${id}`, { method: 'PATCH', json: { disabled: false } })
    await vi.waitFor(async () => expect(await there()).toBe(200), { timeout: 8_000, interval: 20 })
    expect((await door.api(`/v1/keys/${id}`, { method: 'DELETE' })).status).toBe(204)
    await vi.waitFor(async () => expect(await there()).toBe(401), { timeout: 8_000, interval: 20 })
  })

  test('an expiry can be set and taken away', async () => {
    const { id, key } = await make({ scopes: ['read'], expires_at: '2020-01-01T00:00:00Z' })
    expect(await mayRead(key)).toBe(401)
    const json = { expires_at: null }
    expect(await (await door.api(`/v1/keys/${id}`, { method: 'PATCH', json })).json()).toMatchObject({
      expires_at: null,
    })
    expect(await mayRead(key)).toBe(200)
  })

  test.each<[string, object, string]>([
    ['no scopes', {}, 'scopes'],
    ['an unknown scope', { scopes: ['root'] }, 'scopes[0]'],
    ['an unknown field', { scopes: ['read'], scope: 1 }, 'scope'],
    ['a limit of nothing', { scopes: ['read'], limits: { concurrency: 0 } }, 'limits.concurrency'],
    ['a tenant that names a path', { scopes: ['read'], tenant: '../x' }, 'tenant'],
  ])('%s is a 400 that names the field', async (_, json, param) => {
    const answer = await door.api('/v1/keys', { json })
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ error: { param } })
  })
})

describe('sluice keys', () => {
  const run = promisify(execFile)
  const sluice = (args: string[], env: Record<string, string> = {}) =>
    run(process.execPath, ['cli/bin/sluice.js', 'keys', ...args], { env: { ...process.env, ...env }, timeout: 60_000 })
  const connection = () => ['--url', door.url, '--key', platformKey]

  test('makes the first key of all in the database, with which the others are made over HTTP', async () => {
    const args = ['create', '--tenant', 'adventure', '--scopes', 'admin', '--direct']
    const first = (await sluice(args, door.connections)).stdout.trim()
    expect(await mayRead(first)).toBe(200)
    const made = await sluice(['create', '--tenant', 'adventure', '--name', 'job', '--url', door.url, '--key', first])
    expect(await mayRead(made.stdout.trim())).toBe(200)
    const [line = ''] = (await sluice(['list', '--url', door.url, '--key', first])).stdout.split('\n')
    expect(line).toMatch(/^key_[0-9a-f]{16} {2}adventure .*submit,read .*job$/)
    const id = line.split(' ')[0] ?? ''
    const fresh = (await sluice(['rotate', id, '--overlap', '3600', ...connection()])).stdout.trim()
    expect([await mayRead(made.stdout.trim()), await mayRead(fresh)]).toEqual([200, 200])
    expect((await sluice(['disable', id, ...connection()])).stdout).toContain('disabled')
    expect(await mayRead(made.stdout.trim())).toBe(401)
  }, 120_000)

  test.each([
    ['no tenant', ['create'], '--tenant'],
    ['an unknown scope', ['create', '--tenant', 't', '--scopes', 'root'], '--scopes'],
    ['no such key', ['disable', 'key_0'], 'No such key'],
    ['no such command', ['burn'], 'keys create | list'],
  ])('%s is one sentence', async (_, args, said) => {
    const failed = sluice([...args, ...(args[0] === 'burn' ? [] : connection())])
    await expect(failed).rejects.toMatchObject({ code: 1, stderr: expect.stringMatching(/^sluice keys: [^\n]+\n$/) })
    await expect(failed).rejects.toMatchObject({ stderr: expect.stringContaining(said) })
  })
})

describe('tokens of Entra ID', () => {
  const claims = { azp: 'app-of-contoso', roles: ['Requests.Read'] }
  let signer: Signer
  beforeAll(async () => {
    signer = await issuer.addKey('first')
  })
  const token = (over: {
    claims?: object
    kid?: string
    key?: Signer | Uint8Array
    alg?: string
    iss?: string
    aud?: string
    exp?: number
  }) =>
    new SignJWT({ ...claims, ...over.claims })
      .setProtectedHeader({ alg: over.alg ?? 'RS256', kid: over.kid ?? 'first' })
      .setIssuer(over.iss ?? issuer.url)
      .setAudience(over.aud ?? audience)
      .setIssuedAt()
      .setExpirationTime(Math.floor(Date.now() / 1000) + (over.exp ?? 300))
      .sign(over.key ?? signer)

  test('act for the tenant of their application with the scopes of their roles', async () => {
    const key = await token({})
    expect(await mayRead(key)).toBe(200)
    expect((await door.api('/v1/requests', { json: chatLine('e'), key })).status).toBe(403)
    const sender = await token({ claims: { roles: ['Requests.Submit', 'Unknown'] } })
    const made = await door.api('/v1/requests', { json: chatLine('e'), key: sender })
    const { id } = (await made.json()) as { id: string }
    expect(await door.ledger.get('contoso', id)).toMatchObject({ tenant: 'contoso' })
  })

  test('within the clock skew count as valid, beyond it as expired', async () => {
    expect(await mayRead(await token({ exp: -30 }))).toBe(200)
    expect(await mayRead(await token({ exp: -90 }))).toBe(401)
  })

  test('of another issuer, audience, key or algorithm are refused', async () => {
    const { privateKey } = await generateKeyPair('RS256')
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`
    const forged = [
      await token({ iss: 'https://evil.example' }),
      await token({ aud: 'api://other' }),
      await token({ key: privateKey }),
      await token({ alg: 'HS256', key: new TextEncoder().encode('x'.repeat(32)) }),
      none,
      `${(await token({})).slice(0, -4)}AAAA`,
    ]
    for (const one of forged) expect(await mayRead(one)).toBe(401)
  })

  test('of an application that acts for nobody are forbidden, whatever they claim', async () => {
    expect(await mayRead(await token({ claims: { azp: 'toString', groups: ['__proto__'] } }))).toBe(403)
    expect(await mayRead(await token({ claims: { roles: ['constructor'] } }))).toBe(403)
  })

  test('signed with a key that the issuer has just begun to use are taken', async () => {
    const config = {
      issuer: issuer.url,
      audience,
      clock_skew_seconds: 60,
      tenants: { 'app-of-contoso': 'contoso' },
      scopes: {},
    }
    const entra = createEntraTokens(config, 0)
    expect(await entra.caller(await token({}))).toMatchObject({ tenant: 'contoso', scopes: [] })
    const second = await issuer.addKey('second')
    expect(await entra.caller(await token({ kid: 'second', key: second }))).toMatchObject({ tenant: 'contoso' })
    const away = createEntraTokens({ ...config, issuer: 'http://127.0.0.1:1' })
    await expect(away.caller(await token({}))).rejects.toMatchObject({ code: 'storage_unavailable' })
  })

  test('cannot make the door ask the issuer for keys at their will', async () => {
    await mayRead(await token({}))
    const before = issuer.fetched()
    for (let n = 0; n < 20; n++) expect(await mayRead(await token({ kid: `forged-${n}` }))).toBe(401)
    expect(issuer.fetched() - before).toBeLessThanOrEqual(1)
  })
})
