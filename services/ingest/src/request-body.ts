import type { FastifyRequest } from 'fastify'
import { unsupportedMediaType } from './answer-error.ts'
import type { Caller } from './authenticate.ts'
import type { HeldBodies, HeldBody } from './held-bodies.ts'
import { readBytes } from './openai-body.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls; known before a byte of the body is read. */
    caller?: Caller
    /** What is held of a body that was read as a whole. */
    held?: HeldBody
  }
}

/**
 * Content type parsers that read a body as a whole, and count it as its caller's tenant's from its first byte on. Bodies
 * are kept as text: the line's own decoder checks them and names the field at fault. A request without a caller is no
 * route's that takes a body, and whoever refuses it discards what it brings.
 */
export function bodyParsers(bodies: HeldBodies) {
  const text = async (request: FastifyRequest): Promise<string | undefined> => {
    const { caller, raw } = request
    if (caller === undefined) return undefined
    const held = bodies.open(caller.tenant)
    try {
      const bytes = await readBytes(raw, request.routeOptions.bodyLimit, held)
      request.held = held
      return bytes.toString('utf8')
    } catch (error) {
      held.free()
      throw error
    }
  }
  return {
    json: text,
    /** SignalR's own client negotiates with an empty text/plain body. */
    plain: async (request: FastifyRequest): Promise<string> => {
      const body = (await text(request)) ?? ''
      if (body === '' || request.routeOptions.url === '/negotiate') return ''
      request.held?.free()
      throw unsupportedMediaType()
    },
  }
}

/** Does what a request asks for; its body is held until that is done, whether or not its client is still there. */
export async function whileHeld<T>(request: FastifyRequest, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } finally {
    request.held?.free()
  }
}
