import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { AppError } from '@sluice/errors'
import { createLogger } from '@sluice/telemetry'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { answerError } from './answer-error.ts'
import { HeldBodies } from './held-bodies.ts'
import { bodyParsers } from './request-body.ts'
import { createRoutes } from './routes.ts'

const limit = 1_000
let bodies: HeldBodies
let app: FastifyInstance
let port: number
let sockets: Socket[]
/** What the route does, and what comes before its body is read. */
let work: (request: FastifyRequest) => Promise<unknown>
let lookUp: () => Promise<void>
let refusals: string[]

beforeEach(async () => {
  bodies = new HeldBodies(limit)
  work = async () => ({})
  lookUp = async () => undefined
  refusals = []
  sockets = []
  app = Fastify({ bodyLimit: 800 })
  const parsers = bodyParsers(bodies)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', parsers.json)
  app.addContentTypeParser('text/plain', parsers.plain)
  const refuse = (error: unknown, request: FastifyRequest, reply: FastifyReply) => {
    refusals.push((error as AppError).code)
    return answerError(createLogger({ service: 'test', level: 'silent' }), error as AppError, request, reply)
  }
  app.setErrorHandler(refuse)
  app.setNotFoundHandler((request, reply) => refuse(new AppError('not_found', String(request.body)), request, reply))
  const routes = createRoutes(app, async ({ headers }) => {
    await lookUp()
    return { tenant: headers.authorization, scopes: [], platform: false, principal: '', limits: {} } as never
  })
  const spec = { method: 'POST', path: '/', tag: '', summary: '', scope: 'submit', answers: {} } as const
  routes.guarded(spec, (_caller, request) => work(request))
  await app.listen({ host: '127.0.0.1', port: 0 })
  port = (app.server.address() as AddressInfo).port
})
afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  await app.close()
})

const post = (body: string, headers: Record<string, string> = {}, path = '/') =>
  fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', authorization: 'contoso', ...headers },
  })
/** A client that declares 400 bytes and sends ten. */
const begin = (tenant: string): Socket => {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined)
  sockets.push(socket)
  const head = ['POST / HTTP/1.1', 'host: x', `authorization: ${tenant}`, 'content-type: application/json']
  socket.write(`${head.join('\r\n')}\r\ncontent-length: 400\r\n\r\n${'x'.repeat(10)}`)
  return socket
}
const holds = (bytes: number) => vi.waitFor(() => expect(bodies.bytes).toBe(bytes), 10_000)

describe('a body that is read as a whole', () => {
  test('is held until its request is done, whether or not its client is still there', async () => {
    const done = Promise.withResolvers<object>()
    work = () => done.promise
    const client = begin('contoso')
    await holds(400)
    client.write('x'.repeat(390))
    const other = post('y'.repeat(300), { authorization: 'fabrikam' })
    await holds(700)
    client.destroy()
    await vi.waitFor(async () => expect(await connections()).toBe(1), 10_000)
    expect(bodies.bytes).toBe(700)
    done.resolve({})
    expect((await other).status).toBe(200)
    await holds(0)
  })

  test('has no room beside too many others of its tenant: 503 with Retry-After, and another tenant’s has', async () => {
    const client = begin('contoso')
    await holds(400)
    const refused = await post('x'.repeat(200))
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1'])
    expect(await refused.json()).toEqual({
      error: {
        code: 'no_capacity',
        message: expect.any(String) as string,
        param: null,
        type: expect.any(String) as string,
      },
    })
    expect((await post('x'.repeat(100))).status).toBe(200)
    expect((await post('x'.repeat(500), { authorization: 'fabrikam' })).status).toBe(200)
    client.destroy()
    await holds(0)
    expect((await post('x'.repeat(600))).status).toBe(200)
  })

  test.each<[string, () => Promise<Response>, number]>([
    ['its request failed', () => ((work = () => Promise.reject(new AppError('conflict', ''))), post('x')), 409],
    ['it is too large', () => post('x'.repeat(801)), 413],
    ['it is compressed', () => post('x', { 'content-encoding': 'gzip' }), 415],
    ['it is of a type that nobody takes', () => post('x', { 'content-type': 'text/plain' }), 415],
  ])('is free when %s', async (_, send, status) => {
    expect((await send()).status).toBe(status)
    expect(bodies.bytes).toBe(0)
  })

  test('is free when its client left while it came, or before its key was looked up', async () => {
    const client = begin('contoso')
    await holds(400)
    client.destroy()
    await holds(0)

    const looking = Promise.withResolvers<void>()
    const found = Promise.withResolvers<void>()
    lookUp = () => (looking.resolve(), found.promise)
    const early = begin('contoso')
    await looking.promise
    early.destroy()
    await once(early, 'close')
    await vi.waitFor(async () => expect(await connections()).toBe(0), 10_000)
    found.resolve()
    await vi.waitFor(() => expect(refusals).toEqual(['cancelled', 'cancelled']), 10_000)
    expect(bodies.bytes).toBe(0)
  })

  test('of nobody is not read', async () => {
    const unknown = await post('x'.repeat(900), {}, '/nowhere')
    expect(unknown.status).toBe(404)
    expect(await unknown.json()).toMatchObject({ error: { message: 'undefined' } })
  })
})

const connections = () =>
  new Promise<number>((resolve, reject) =>
    app.server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
  )
