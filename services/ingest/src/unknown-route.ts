import { AppError } from '@sluice/errors'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { openAIPath } from './openai-path.ts'

export type Registered = Readonly<{ method: string; path: string }>

/**
 * What is said of a request that no route takes: 405 with `Allow` where another method would be answered, else 404.
 * @param registered every route in Fastify's form
 */
export function createUnknownRoute(registered: () => readonly Registered[]) {
  let patterns: { method: string; pattern: RegExp }[] | undefined
  const methodsOf = (path: string): string[] => {
    patterns ??= registered()
      // Everything under a wildcard is not a path that exists; the OpenAI routes know their own.
      .filter((one) => !one.path.endsWith('*'))
      .map(({ method, path: route }) => ({ method, pattern: patternOf(route) }))
    const found = new Set(patterns.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method))
    if (openAIPath(path) !== undefined) found.add('POST')
    if (found.has('GET')) found.add('HEAD')
    return [...found].toSorted()
  }

  return ({ method, url }: FastifyRequest, reply: FastifyReply): AppError => {
    const path = url.split('?', 1)[0] ?? ''
    const allowed = methodsOf(path)
    if (allowed.length === 0 || allowed.includes(method)) {
      return new AppError('not_found', `Unknown route: ${method} ${path.slice(0, 200)}`)
    }
    void reply.header('allow', allowed.join(', '))
    return new AppError('method_not_allowed', `${method} is not taken here, only ${allowed.join(', ')}.`)
  }
}

const patternOf = (route: string): RegExp =>
  new RegExp(`^${route.replaceAll(/[.+?^$()|[\]\\]/g, '\\$&').replaceAll(/:\w+/g, '[^/]+')}$`)
