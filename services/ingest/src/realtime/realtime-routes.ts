import { readBody } from '../read-input.ts'
import type { Routes } from '../routes.ts'
import { clientSecret, clientSecretBody, type ClientSecretDeps, issueClientSecret } from './client-secrets.ts'

/** POST /v1/realtime/client_secrets and its Azure spelling. The WebSockets are served by the realtime door. */
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
}
