import { X509Certificate } from 'node:crypto'
import { connect, createServer } from 'node:tls'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { selfSignedCertificate } from './self-signed-certificate.ts'

test('the certificate names localhost, is valid now and signed with its key', () => {
  const now = Date.UTC(2026, 10, 21)
  const { certificate } = selfSignedCertificate(now)
  const parsed = new X509Certificate(certificate)
  expect(parsed.subjectAltName).toBe('DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1')
  expect(parsed.verify(parsed.publicKey)).toBe(true)
  expect(parsed.checkHost('localhost')).toBe('localhost')
  expect(parsed.ca).toBe(true)
  expect(Date.parse(parsed.validFrom)).toBe(now - 86_400_000)
  expect(Date.parse(parsed.validTo)).toBe(now + 365 * 86_400_000)
})

test('a TLS client that trusts it accepts the server, another does not', async () => {
  const { key, certificate } = selfSignedCertificate(Date.now())
  const server = createServer({ key, cert: certificate }, (socket) => socket.end('hello'))
  server.on('tlsClientError', () => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const trusting = connect({ port, host: 'localhost', ca: certificate })
  await once(trusting, 'secureConnect')
  expect(trusting.authorized).toBe(true)
  trusting.destroy()
  const strange = connect({ port, host: 'localhost' })
  const [error] = (await once(strange, 'error')) as [Error & { code: string }]
  expect(error.code).toBe('DEPTH_ZERO_SELF_SIGNED_CERT')
  server.close()
})
