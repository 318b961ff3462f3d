import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Routes } from './routes.ts'

/** GET /openapi.json and a page that shows it. Neither needs a key: they say nothing that the source does not. */
export function docsRoutes(routes: Routes): void {
  let document: string | undefined
  routes.open(
    {
      method: 'GET',
      path: '/openapi.json',
      tag: 'docs',
      summary: 'This document',
      answers: { 200: { description: 'OpenAPI 3.1' } },
    },
    // Built when it is first asked for: by then every feature has registered its routes.
    async (_, reply) => reply.type('application/json').send((document ??= JSON.stringify(routes.document()))),
  )
  const page = readFileSync(new URL('docs-page.html', import.meta.url), 'utf8')
  const script = /<script>([\s\S]*?)<\/script>/.exec(page)?.[1] ?? ''
  const digest = createHash('sha256').update(script).digest('base64')
  const policy = `default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'sha256-${digest}'`
  routes.open(
    {
      method: 'GET',
      path: '/docs',
      tag: 'docs',
      summary: 'The document as a page',
      answers: { 200: { description: 'a page', contentType: 'text/html' } },
    },
    async (_, reply) => reply.type('text/html; charset=utf-8').header('content-security-policy', policy).send(page),
  )
}
