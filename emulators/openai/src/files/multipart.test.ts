import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { AzureError } from '../http/azure-error.ts'
import { readForm } from './multipart.ts'

const boundary = 'XyZ'

/** A request whose body arrives in the given pieces. */
const request = (pieces: Buffer[], type = `multipart/form-data; boundary=${boundary}`): IncomingMessage =>
  Object.assign(Readable.from(pieces), {
    headers: { 'content-type': type },
    complete: true,
  }) as unknown as IncomingMessage

const form = (content: Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(`preamble\r\n--${boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n`),
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a \\"b\\".jsonl"\r\nContent-Type: text/plain\r\n\r\n`,
    ),
    content,
    Buffer.from(`\r\n--${boundary}--\r\nepilogue`),
  ])

const collect = async (content: AsyncIterable<Buffer>): Promise<Buffer> => Buffer.concat(await Array.fromAsync(content))

test('content arrives unchanged however the body is cut, also when it almost contains the boundary', async () => {
  const tricky = fc
    .array(fc.constantFrom('\r', '\n', '--', boundary, `\r\n--Xy`, 'a', '\0'), { maxLength: 40 })
    .map((parts) => Buffer.from(parts.join('')))
  await fc.assert(
    fc.asyncProperty(
      tricky,
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
      async (content, sizes) => {
        fc.pre(!content.includes(`\r\n--${boundary}`))
        const body = form(content)
        const pieces: Buffer[] = []
        for (let at = 0, i = 0; at < body.byteLength; i++) {
          const size = sizes[i % sizes.length] ?? 1
          pieces.push(body.subarray(at, at + size))
          at += size
        }
        const { fields, file } = await readForm(request(pieces), async (part) => ({
          name: part.filename,
          content: await collect(part.content),
        }))
        expect(fields.get('purpose')).toBe('batch')
        expect(file?.name).toBe('a "b".jsonl')
        expect(file?.content.equals(content)).toBe(true)
      },
    ),
  )
})

test.each([
  ['no boundary in the body', Buffer.from('hello')],
  ['an end in the middle of a part', form(Buffer.from('x')).subarray(0, 150)],
  ['a part without a name', Buffer.from(`--${boundary}\r\nX: y\r\n\r\nv\r\n--${boundary}--`)],
  ['endless headers', Buffer.from(`--${boundary}\r\n${'h'.repeat(20_000)}`)],
  [
    'a field that is too long',
    Buffer.from(
      `--${boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n${'v'.repeat(70_000)}\r\n--${boundary}--`,
    ),
  ],
  ['rubbish after a boundary', Buffer.from(`--${boundary}??\r\n`)],
])('%s is a 400', async (_what, body) => {
  const read = readForm(request([body]), (part) => collect(part.content))
  await expect(read).rejects.toBeInstanceOf(AzureError)
  await expect(readForm(request([body]), (part) => collect(part.content))).rejects.toMatchObject({ status: 400 })
})

test('another content type is a 415', async () => {
  await expect(readForm(request([], 'application/json'), (part) => collect(part.content))).rejects.toMatchObject({
    status: 415,
  })
})
