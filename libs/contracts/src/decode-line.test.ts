import { AppError } from '@sluice/errors'
import { describe, expect, test } from 'vitest'
import { checkLine, decodeLine, salvageLine } from './decode-line.ts'
import { canonicalJson, contentHash, requestIdOf } from './ids.ts'

const good = {
  custom_id: 'order-17',
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'auto', messages: [{ role: 'user', content: 'hi' }], a_field_of_tomorrow: { deep: true } },
  sluice: { priority: 'bulk', deliver: [{ type: 'webhook', url: 'https://example.com/x' }] },
}

const refusal = (value: unknown): AppError => {
  try {
    decodeLine(typeof value === 'string' ? value : JSON.stringify(value))
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('was accepted')
}

test('a line passes with the fields that nobody knows yet', () => {
  expect(decodeLine(JSON.stringify(good))).toEqual(good)
  expect(decodeLine(Buffer.from(JSON.stringify(good)))).toEqual(good)
})

test('what is wrong with JSON is told without the prompt around it', () => {
  for (const text of ['{"body":"a secret" "prompt"}', '{"body":"a secret prompt', 'secret prompt']) {
    const { code, message, cause } = refusal(text)
    expect(code).toBe('invalid_json')
    expect(`${message} ${String(cause)}`).not.toMatch(/secret|prompt/)
  }
})

test('a body without a model asks for auto', () => {
  const { model: _, ...body } = good.body
  expect(checkLine({ ...good, body }).body?.model).toBe('auto')
})

test('a claim check takes the place of the body', () => {
  const { body: _, ...rest } = good
  const body_ref = { blob: 'contoso/a.json', sha256: 'a'.repeat(64), bytes: 5, content_type: 'application/json' }
  expect(checkLine({ ...rest, body_ref }).body_ref).toEqual(body_ref)
  expect(refusal({ ...good, body_ref }).param).toBe('body_ref')
})

describe('a recording', () => {
  const file_ref = {
    blob: 'contoso/a.wav',
    sha256: 'a'.repeat(64),
    bytes: 5,
    content_type: 'audio/wav',
    filename: 'a.wav',
  }
  const { sluice, custom_id, method } = good
  const line = { custom_id, method, sluice, url: '/v1/audio/transcriptions', body: { language: 'sv' }, file_ref }

  test('is a claim check beside the fields of its form', () => {
    expect(checkLine(line)).toEqual({ ...line, body: { model: 'auto', language: 'sv' } })
  })

  test.each<[string, object, string]>([
    ['none', { ...line, file_ref: undefined }, 'file_ref'],
    ['one for another url', { ...good, file_ref }, 'file_ref'],
    [
      'none beside a body that is a claim check',
      { ...line, body: undefined, body_ref: file_ref, file_ref: undefined },
      'file_ref',
    ],
    ['an empty one', { ...line, file_ref: { ...file_ref, bytes: 0 } }, 'file_ref.bytes'],
    ['a huge one', { ...line, file_ref: { ...file_ref, bytes: 1e9 } }, 'file_ref.bytes'],
    ['a name with a line break', { ...line, file_ref: { ...file_ref, filename: 'a\r\nx: y' } }, 'file_ref.filename'],
    ['a type with a line break', { ...line, file_ref: { ...file_ref, content_type: 'a\nb' } }, 'file_ref.content_type'],
    ['a hash that is none', { ...line, file_ref: { ...file_ref, sha256: 'x' } }, 'file_ref.sha256'],
  ])('%s is refused by name', (_, value, param) => {
    expect(refusal(value)).toMatchObject({ code: 'invalid_line', param })
  })
})

describe('bad input names its field', () => {
  test.each<[string, unknown, string, string | undefined]>([
    ['no JSON', '{"custom_id": ', 'invalid_json', undefined],
    ['no object', '[1]', 'invalid_line', undefined],
    ['no url', { ...good, url: undefined }, 'invalid_line', 'url'],
    ['an unknown url', { ...good, url: '/v1/images' }, 'unsupported_url', 'url'],
    ['no body', { ...good, body: undefined }, 'invalid_line', 'body'],
    ['a body of text', { ...good, body: 'hi' }, 'invalid_line', 'body'],
    ['no messages', { ...good, body: { model: 'auto' } }, 'invalid_line', 'body.messages'],
    ['empty messages', { ...good, body: { messages: [] } }, 'invalid_line', 'body.messages'],
    ['a role of number', { ...good, body: { messages: [{ role: 3 }] } }, 'invalid_line', 'body.messages[0].role'],
    [
      'a response in the background',
      { ...good, url: '/v1/responses', body: { input: 'hi', background: true } },
      'invalid_line',
      'body.background',
    ],
    ['another method', { ...good, method: 'GET' }, 'invalid_line', 'method'],
    ['no custom id', { ...good, custom_id: '' }, 'invalid_line', 'custom_id'],
    ['an unknown field', { ...good, extra: 1 }, 'invalid_line', 'extra'],
    ['an unknown option', { ...good, sluice: { prio: 1 } }, 'invalid_line', 'sluice.prio'],
    ['an unknown priority', { ...good, sluice: { priority: 'asap' } }, 'invalid_line', 'sluice.priority'],
    ['a deadline without a date', { ...good, sluice: { deadline: 'soon' } }, 'invalid_line', 'sluice.deadline'],
    ['a tenant with a bar', { ...good, sluice: { tenant: 'a|b' } }, 'invalid_line', 'sluice.tenant'],
    ['a version of tomorrow', { ...good, sluice: { version: 9 } }, 'unsupported_version', 'sluice.version'],
    [
      'a webhook to a file',
      { ...good, sluice: { deliver: [{ type: 'webhook', url: 'file:///etc/passwd' }] } },
      'invalid_line',
      'sluice.deliver[0].url',
    ],
  ])('%s', (_, value, code, param) => {
    expect(refusal(value)).toMatchObject({ code, param })
  })

  test('bytes that are not UTF-8', () => {
    expect(() => decodeLine(Buffer.from([0x7b, 0xff, 0x7d]))).toThrow(/UTF-8/)
  })

  test('a line over the limit', () => {
    const body = { messages: [{ role: 'user', content: 'x'.repeat(200_000) }] }
    expect(refusal({ ...good, body })).toMatchObject({ code: 'message_too_large', param: 'body' })
  })
})

test('what can be read of a bad line is salvaged, and nothing else', () => {
  const line = { ...good, url: '/nowhere', sluice: { tenant: 'contoso', deliver: [{ type: 'event-hubs' }] } }
  expect(salvageLine(JSON.stringify(line))).toEqual({
    custom_id: 'order-17',
    tenant: 'contoso',
    deliver: [{ type: 'event-hubs' }],
  })
  expect(salvageLine('{"custom_id": 4, "sluice": []}')).toEqual({})
  expect(salvageLine(Buffer.from([0xff]))).toEqual({})
})

test('an identity depends on tenant and key alone, a content hash not on the order of fields', () => {
  expect(requestIdOf('a', 'k')).toBe(requestIdOf('a', 'k'))
  expect(new Set([requestIdOf('a', 'k'), requestIdOf('b', 'k'), requestIdOf('a', 'l')]).size).toBe(3)
  expect(requestIdOf('a', 'b\nc')).not.toBe(requestIdOf('a\nb', 'c'))
  expect(contentHash({ a: 1, b: [{ c: 2, d: 3 }] })).toBe(contentHash({ b: [{ d: 3, c: 2 }], a: 1 }))
  expect(canonicalJson({ b: undefined, a: [undefined, null] })).toBe('{"a":[null,null]}')
})
