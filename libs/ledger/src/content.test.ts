import { createHash } from 'node:crypto'
import type { RequestLine } from '@sluice/contracts'
import { describe, expect, it } from 'vitest'
import { bytesHash, lineHash, withoutBody } from './content.ts'

const line = (over: Partial<RequestLine> = {}): RequestLine => ({
  custom_id: 'order-17',
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'auto', messages: [{ role: 'user', content: 'hi' }] },
  ...over,
})

describe('lineHash', () => {
  it('is the same for a body and for the claim check made of it', () => {
    const { body, ...rest } = line()
    const sha256 = createHash('sha256').update(JSON.stringify(body)).digest('hex')
    const body_ref = { blob: 'contoso/x', sha256, bytes: 1, content_type: 'application/json' }
    expect(lineHash({ ...rest, body_ref })).toBe(lineHash(line()))
  })

  it('does not depend on the order of the fields of the line or on who names the tenant', () => {
    const options = { priority: 'bulk' as const, conversation: 'c' }
    const reordered: RequestLine = {
      sluice: { conversation: 'c', priority: 'bulk', tenant: 'contoso' },
      body: line().body ?? { model: 'auto' },
      url: '/v1/chat/completions',
      method: 'POST',
      custom_id: 'order-17',
    }
    expect(lineHash(reordered)).toBe(lineHash(line({ sluice: options })))
    expect(lineHash(line({ sluice: {} }))).toBe(lineHash(line()))
  })

  it.each([
    ['custom_id', { custom_id: 'order-18' }],
    ['url', { url: '/v1/responses' as const }],
    ['body', { body: { model: 'auto', messages: [{ role: 'user', content: 'ho' }] } }],
    ['the order of the fields in the body', { body: { messages: [{ role: 'user', content: 'hi' }], model: 'auto' } }],
    ['options', { sluice: { deliver: [{ type: 'event-hubs' as const }] } }],
  ])('depends on %s', (_, over) => {
    expect(lineHash(line(over))).not.toBe(lineHash(line()))
  })
})

describe('bytesHash', () => {
  it('is SHA-256 in hex', () => {
    expect(bytesHash(Buffer.from('abc'))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  })
})

describe('withoutBody', () => {
  it('keeps everything but the body and its claim check', () => {
    expect(withoutBody(line({ sluice: { priority: 'bulk' } }))).toEqual({
      custom_id: 'order-17',
      method: 'POST',
      url: '/v1/chat/completions',
      sluice: { priority: 'bulk' },
    })
  })
})
