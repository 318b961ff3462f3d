import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { Clock } from '../clock.ts'
import type { AccessKey } from '../config/access-key.ts'
import { allows, verifySasToken } from '../server/sas-token.ts'
import type { Namespace } from '../service-bus/namespace.ts'
import type { Subscription } from '../service-bus/topic.ts'
import {
  atomEntry,
  atomError,
  atomFeed,
  namespaceEntry,
  queueEntry,
  subscriptionEntry,
  topicEntry,
  type AtomEntry,
} from './atom-xml.ts'
import { ruleEntry } from './rule-xml.ts'
import { selfSignedCertificate } from './self-signed-certificate.ts'

type Parts = { namespace(): Namespace; keys: AccessKey[]; clock: Clock; host: string }

export type AdministrationServer = { port: number; certificate: string; close(): Promise<void> }

const pageSize = 100
const openedNamespace = 'sbemulatorns'

/**
 * Serves the reading half of the HTTP administration API over TLS: properties and runtime properties of the namespace, its
 * queues, topics, subscriptions and their rules. Entities are made by the configuration alone, so everything else is refused.
 */
export const startAdministrationServer = async (parts: Parts): Promise<AdministrationServer> => {
  const { key, certificate } = selfSignedCertificate(parts.clock.now())
  const openedAtMs = parts.clock.now()
  const server = createServer({ key, cert: certificate }, (request, response) =>
    answer(parts, openedAtMs, request, response),
  )
  server.on('tlsClientError', (_, socket) => socket.destroy())
  server.headersTimeout = 10_000
  server.requestTimeout = 10_000
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, parts.host, resolve)
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    certificate,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

const answer = (parts: Parts, openedAtMs: number, request: IncomingMessage, response: ServerResponse): void => {
  request.resume()
  const base = `https://${request.headers.host ?? 'localhost'}`
  const url = URL.canParse(request.url ?? '', base) ? new URL(request.url ?? '', base) : undefined
  const { status, body } = respond(parts, openedAtMs, base, url, request)
  response.writeHead(status, { 'content-type': 'application/atom+xml;type=entry;charset=utf-8' })
  response.end(body)
}

type Answer = { status: number; body: string }

const refuse = (status: number, detail: string): Answer => ({ status, body: atomError(status, detail) })

const respond = (
  parts: Parts,
  openedAtMs: number,
  base: string,
  url: URL | undefined,
  request: IncomingMessage,
): Answer => {
  const path = decodePath(url)
  if (url === undefined || path === undefined) return refuse(400, 'The address is malformed.')
  const refusal = checkToken(parts, path, request.headers.authorization)
  if (refusal !== undefined) return refuse(401, refusal)
  if (request.method !== 'GET') return refuse(405, 'Entities of this namespace are made by its configuration file.')
  if (path === '$namespaceinfo')
    return { status: 200, body: atomEntry(base, namespaceEntry(openedNamespace, openedAtMs)) }
  const list = listed(parts.namespace(), path)
  if (list !== undefined) return { status: 200, body: page(base, path, list, url.searchParams) }
  const entry = single(parts.namespace(), path) ?? singleRule(parts.namespace(), path)
  return entry === undefined
    ? refuse(404, `The messaging entity '${path}' could not be found.`)
    : { status: 200, body: atomEntry(base, entry) }
}

const decodePath = (url: URL | undefined): string | undefined => {
  try {
    return decodeURIComponent(url?.pathname ?? '').replaceAll(/^\/+|\/+$/g, '')
  } catch {
    return undefined
  }
}

const checkToken = ({ keys, clock }: Parts, path: string, authorization: string | undefined): string | undefined => {
  if (keys.length === 0) return undefined
  const claim = verifySasToken(authorization ?? '', keys, clock.now())
  if (typeof claim === 'string') return claim
  return allows([claim], path, 'Manage', clock.now())
    ? undefined
    : 'The token does not give the right to manage this entity.'
}

const listed = (namespace: Namespace, path: string): AtomEntry[] | undefined => {
  if (/^\$resources\/queues$/i.test(path)) return namespace.queues.map(queueEntry)
  if (/^\$resources\/topics$/i.test(path)) return namespace.topics.map(topicEntry)
  const topic = namespace.topics.find(
    (candidate) => `${candidate.path}/Subscriptions`.toLowerCase() === path.toLowerCase(),
  )
  if (topic !== undefined)
    return [...topic.subscriptions.values()].map(({ name, queue }) => subscriptionEntry(name, queue))
  const subscription = ruleOwner(namespace, path, /\/Rules$/i)
  return subscription?.rules.definitions.map((rule) => ruleEntry(subscription, rule))
}

/** The subscription whose address is what comes before `suffix`. */
const ruleOwner = (namespace: Namespace, path: string, suffix: RegExp): Subscription | undefined => {
  const owner = path.replace(suffix, '')
  const entity = owner !== path && namespace.has(owner) ? namespace.resolve(owner) : undefined
  return entity?.kind === 'subscription' ? entity.subscription : undefined
}

const singleRule = (namespace: Namespace, path: string): AtomEntry | undefined => {
  const subscription = ruleOwner(namespace, path, /\/Rules\/[^/]+$/i)
  const name = path.slice(path.lastIndexOf('/') + 1).toLowerCase()
  const rule = subscription?.rules.definitions.find((candidate) => candidate.name.toLowerCase() === name)
  return subscription === undefined || rule === undefined ? undefined : ruleEntry(subscription, rule)
}

const single = (namespace: Namespace, path: string): AtomEntry | undefined => {
  if (!namespace.has(path)) return undefined
  const entity = namespace.resolve(path)
  if (entity.kind === 'topic') return topicEntry(entity.topic)
  if (entity.kind === 'subscription') return subscriptionEntry(entity.subscription.name, entity.queue)
  return entity.kind === 'queue' ? queueEntry(entity.queue) : undefined
}

const page = (base: string, path: string, entries: AtomEntry[], query: URLSearchParams): string => {
  const skip = Math.max(0, Number(query.get('$skip')) || 0)
  const top = Math.min(pageSize, Math.max(1, Number(query.get('$top')) || pageSize))
  const more = skip + top < entries.length
  const next = more ? `${base}/${path}?%24skip=${skip + top}&%24top=${top}` : undefined
  return atomFeed(base, path, entries.slice(skip, skip + top), next)
}
