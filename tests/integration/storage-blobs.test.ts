import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { AppError } from '@sluice/errors'
import { type Blobs, connectBlobs } from '@sluice/storage'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startAzurite } from './storage-stand-ins.ts'

describe('claim checks', () => {
  let azurite: Awaited<ReturnType<typeof startAzurite>>
  let blobs: Blobs
  beforeAll(async () => {
    azurite = await startAzurite()
    blobs = connectBlobs({ connectionString: azurite.connectionString, container: 'sluice' })
    await blobs.provision()
  })
  afterAll(() => azurite.stop())

  const bytes = Buffer.from(JSON.stringify({ messages: 'ü'.repeat(50_000) }))

  it('gives back the bytes that were put', async () => {
    const ref = await blobs.put('contoso', 'requests/1.json', bytes, 'application/json')
    expect(ref).toEqual({
      blob: 'contoso/requests/1.json',
      sha256: createHash('sha256').update(bytes).digest('hex'),
      bytes: bytes.length,
      content_type: 'application/json',
    })
    expect(await blobs.get('contoso', ref)).toEqual(bytes)
  })

  it('keeps an empty body and names with spaces, plus signs and letters beyond ASCII', async () => {
    const ref = await blobs.put('contoso', 'a b+c/größe%.json', Buffer.alloc(0), 'text/plain')
    expect(await blobs.get('contoso', ref)).toEqual(Buffer.alloc(0))
  })

  it('lists the names of one folder of one tenant, in order and as many as are wanted', async () => {
    for (const path of ['list/b', 'list/a', 'list/c', 'listed/d']) await blobs.put('contoso', path, bytes, 'text/plain')
    await blobs.put('contoso-2', 'list/a', bytes, 'text/plain')
    expect(await blobs.list('contoso', 'list', 10)).toEqual(['contoso/list/a', 'contoso/list/b', 'contoso/list/c'])
    expect(await blobs.list('contoso', 'list', 2)).toEqual(['contoso/list/a', 'contoso/list/b'])
    expect(await blobs.list('contoso', 'nothing', 10)).toEqual([])
    await expect(blobs.list('contoso', '../contoso-2/list', 10)).rejects.toMatchObject({ code: 'body_ref_not_found' })
  })

  it('are passed on as they are read, to an end only where they are what the check says', async () => {
    const ref = await blobs.put('contoso', 'piped', Buffer.alloc(300_000, 'x'), 'audio/wav')
    const read = async (check: typeof ref, tenant = 'contoso') => {
      let size = 0
      for await (const chunk of await blobs.pipe(tenant, check)) size += chunk.byteLength
      return size
    }
    expect(await read(ref)).toBe(300_000)
    const mismatch = { code: 'body_ref_mismatch', param: 'file_ref' }
    await expect(read({ ...ref, sha256: '0'.repeat(64) })).rejects.toMatchObject(mismatch)
    await expect(read({ ...ref, bytes: 299_999 })).rejects.toMatchObject(mismatch)
    await expect(read({ ...ref, bytes: 300_001 })).rejects.toMatchObject(mismatch)
    await expect(read({ ...ref, blob: 'contoso/nothing' })).rejects.toMatchObject({ code: 'body_ref_not_found' })
    await expect(read(ref, 'fabrikam')).rejects.toMatchObject({ code: 'body_ref_not_found' })
  })

  it('provisions twice and answers for readiness', async () => {
    await blobs.provision()
    await blobs.ping()
    const missing = connectBlobs({ connectionString: azurite.connectionString, container: 'missing' })
    await expect(missing.ping()).rejects.toMatchObject({ name: 'AppError' })
  })

  it('streams a blob of any size', async () => {
    await blobs.put('contoso', 'lines.jsonl', bytes, 'application/jsonl')
    const chunks: Uint8Array[] = []
    for await (const chunk of await blobs.open('contoso', 'contoso/lines.jsonl')) chunks.push(chunk)
    expect(Buffer.concat(chunks)).toEqual(bytes)
    await expect(blobs.open('contoso', 'contoso/none.jsonl')).rejects.toMatchObject({ code: 'body_ref_not_found' })
    await expect(blobs.open('contoso', 'fabrikam/x')).rejects.toMatchObject({ code: 'body_ref_not_found' })
  })

  it.each([
    'fabrikam/requests/1.json',
    'contoso',
    'contoso/',
    'contosofoo/1.json',
    'contoso/../fabrikam/1.json',
    'contoso/./1.json',
    'contoso//1.json',
    '/contoso/1.json',
    'contoso/%2e%2e/fabrikam/1.json',
    'contoso/%2E%2E%2Ffabrikam/1.json',
    'contoso/%252e%252e/fabrikam/1.json',
    'contoso/..%5cfabrikam',
    'contoso\\..\\fabrikam',
    'contoso/a\u0000b',
    `contoso/${'x'.repeat(1020)}`,
    '',
  ])('has no blob %j for the tenant contoso', async (blob) => {
    await blobs.put('fabrikam', 'requests/1.json', bytes, 'application/json')
    const ref = { blob, sha256: '0'.repeat(64), bytes: 1, content_type: 'application/json' }
    const refused = { code: 'body_ref_not_found', param: 'body_ref.blob' }
    await expect(blobs.get('contoso', ref)).rejects.toMatchObject(refused)
    await expect(blobs.readUrl('contoso', ref, 1_000)).rejects.toMatchObject(refused)
  })

  it('never writes outside a tenant either', async () => {
    await expect(blobs.put('contoso', '../fabrikam/1', bytes, 'text/plain')).rejects.toMatchObject({
      code: 'body_ref_not_found',
    })
  })

  it('tells a missing blob from one that is not what the claim check says', async () => {
    const ref = await blobs.put('contoso', 'requests/2.json', bytes, 'application/json')
    await expect(blobs.get('contoso', { ...ref, blob: 'contoso/none' })).rejects.toMatchObject({
      code: 'body_ref_not_found',
    })
    await expect(blobs.get('contoso', { ...ref, sha256: '0'.repeat(64) })).rejects.toMatchObject({
      code: 'body_ref_mismatch',
      param: 'body_ref.sha256',
    })
    await expect(blobs.get('contoso', { ...ref, bytes: ref.bytes - 1 })).rejects.toMatchObject({
      code: 'body_ref_mismatch',
      param: 'body_ref.bytes',
    })
    await expect(blobs.get('contoso', ref, { maxBytes: 10 })).rejects.toMatchObject({ code: 'message_too_large' })
  })

  it('signs a URL that reads that one blob until it expires', async () => {
    const ref = await blobs.put('contoso', 'requests/3.json', bytes, 'application/json')
    const url = await blobs.readUrl('contoso', ref, 60_000)
    const read = await fetch(url)
    expect(read.status).toBe(200)
    expect(Buffer.from(await read.arrayBuffer())).toEqual(bytes)
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(403)
    expect((await fetch(url.replace('3.json', '2.json'))).status).toBe(403)
    expect((await fetch(await blobs.readUrl('contoso', ref, -60_000))).status).toBe(403)
  })
})

describe('a storage account that does not answer', () => {
  const connectionTo = (port: number) =>
    `DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:${port}/a;`

  it('becomes storage_unavailable at the deadline, also for a stream that stops in the middle', async () => {
    const server = createServer((_, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write('x')
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const blobs = connectBlobs({ connectionString: connectionTo(port), container: 'sluice', deadlineMs: 200 })
    const ref = { blob: 'contoso/1', sha256: '0'.repeat(64), bytes: 1000, content_type: 'text/plain' }
    try {
      const error = (await blobs.get('contoso', ref).catch((thrown: unknown) => thrown)) as AppError
      expect(error).toMatchObject({ code: 'storage_unavailable' })
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  it('becomes storage_unavailable when it refuses the connection', async () => {
    const blobs = connectBlobs({ connectionString: connectionTo(1), container: 'sluice', deadlineMs: 2_000 })
    await expect(blobs.put('contoso', '1', Buffer.from('x'), 'text/plain')).rejects.toMatchObject({
      code: 'storage_unavailable',
    })
  })
})
