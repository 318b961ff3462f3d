import { AppError } from '@sluice/errors'
import { z } from 'zod'
import { readBody } from '../read-input.ts'
import type { Routes } from '../routes.ts'
import { clientSecret, clientSecretBody, type ClientSecretDeps, issueClientSecret } from './client-secrets.ts'

const sockets = ['/v1/realtime', '/v1/realtime/sessions', '/openai/v1/realtime', '/openai/realtime']

/**
 * POST /v1/realtime/client_secrets and its Azure spelling. The WebSockets are served by the realtime door; here is what
 * a request without an upgrade is told.
 */
export function realtimeRoutes(routes: Routes, deps: ClientSecretDeps): void {
  for (const path of ['/v1/realtime/client_secrets', '/openai/v1/realtime/client_secrets']) {
    routes.guarded(
      {
        method: 'POST',
        path,
        tag: 'Realtime',
        summary: 'A token with which a browser opens one realtime session, and where to take it',
        scope: 'submit',
        body: { 'application/json': clientSecretBody },
        answers: { 200: { description: 'The token', schema: clientSecret } },
        undocumented: path !== '/v1/realtime/client_secrets',
      },
      async (caller, request) => issueClientSecret(deps, caller, readBody(clientSecretBody, request)),
    )
  }
  for (const path of sockets) {
    routes.guarded(
      {
        method: 'GET',
        path,
        tag: 'Realtime',
        summary: 'A realtime session, as a WebSocket',
        scope: 'submit',
        query: z.object({ model: z.string().optional() }),
        answers: { 101: { description: 'the session' }, 426: { description: 'not a WebSocket handshake' } },
        undocumented: path !== sockets[0],
      },
      async (_caller, _request, reply) => {
        void reply.header('upgrade', 'websocket')
        throw new AppError('invalid_line', 'Open a WebSocket here.', { param: 'Upgrade', status: 426 })
      },
    )
  }
}
