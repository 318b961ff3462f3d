import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { z } from 'zod'
import type { Authenticate, Caller, Permission } from './authenticate.ts'
import { openApiDocument } from './openapi.ts'
import { whileHeld } from './request-body.ts'

/** What one status of a route answers; no schema: no body, or one of another type than JSON. */
export interface AnswerSpec {
  description: string
  schema?: z.ZodType
  /** `application/json` unless given. */
  contentType?: string
}

/** A route as the OpenAPI document shows it. The schemas are the ones that the handler validates with. */
export interface RouteSpec {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Fastify's form: `/v1/requests/:id`. */
  path: string
  tag: string
  summary: string
  /** Who may call it; absent: everybody. */
  scope?: Permission
  query?: z.ZodObject
  headers?: z.ZodObject
  /** By content type. */
  body?: Readonly<Record<string, z.ZodType | undefined>>
  bodyRequired?: boolean
  /** By status; the errors that every route may answer need not be named. */
  answers: Readonly<Record<number, AnswerSpec>>
  /** Bytes; the application's limit unless given. */
  bodyLimit?: number
  /** Another spelling of a route that is described already. */
  undocumented?: boolean
}

type Guarded = (caller: Caller, request: FastifyRequest, reply: FastifyReply) => Promise<unknown>
type Open = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>

/** Where features register their routes, so that each is guarded and described. */
export interface Routes {
  /** A route for callers who hold `scope`; who calls is known before a byte of the body is read. */
  guarded(spec: RouteSpec & { scope: Permission }, handle: Guarded): void
  /** A route without authentication. */
  open(spec: RouteSpec, handle: Open): void
  /** The same in a Fastify context of one's own, for a feature that reads bodies in another way. */
  within(context: FastifyInstance): Routes
  /** The OpenAPI document of every route registered so far. */
  document(): object
  /** Every route registered so far, in whichever spelling. */
  registered(): readonly { method: string; path: string }[]
}

/** @returns the application's routes, none yet */
export function createRoutes(app: FastifyInstance, authenticate: Authenticate): Routes {
  const specs: RouteSpec[] = []
  const registered: Pick<RouteSpec, 'method' | 'path'>[] = []
  const on = (context: FastifyInstance): Routes => {
    const add = (spec: RouteSpec, options: Pick<RouteOptions, 'handler' | 'onRequest'>) => {
      if (spec.undocumented !== true) specs.push(spec)
      registered.push(spec)
      const limit = spec.bodyLimit === undefined ? {} : { bodyLimit: spec.bodyLimit }
      context.route({ method: spec.method, url: spec.path, ...limit, ...options })
    }
    return {
      guarded(spec, handle) {
        add(spec, {
          onRequest: async (request) => void (request.caller = await authenticate(request, spec.scope)),
          handler: (request, reply) => whileHeld(request, () => handle(request.caller as Caller, request, reply)),
        })
      },
      open: (spec, handle) => add(spec, { handler: handle }),
      within: on,
      document: () => openApiDocument(specs),
      registered: () => registered,
    }
  }
  return on(app)
}
