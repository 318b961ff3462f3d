import { assert, integer, property, uint8Array } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { boundaryOf, MultipartFilter } from './openai-multipart.ts'

const part = (name: string, value: string, more = '') =>
  `--b\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`
const body = (...parts: string[]) => Buffer.from(`${parts.join('')}--b--\r\n`, 'latin1')

function filtered(bytes: Buffer, pieces: number): { filter: MultipartFilter; text: string } {
  const filter = new MultipartFilter('b', ['model', 'sluice'])
  const out: Buffer[] = [filter.part('model', 'azure')]
  for (let at = 0; at < bytes.length; at += pieces) out.push(...filter.push(bytes.subarray(at, at + pieces)))
  return { filter, text: Buffer.concat(out).toString('latin1') }
}

describe('MultipartFilter', () => {
  it('replaces the model wherever it stands, and reads the fields', () => {
    const bytes = body(part('file', 'RIFF', '; filename="a.wav"'), part('model', 'auto'), part('language', 'en'))
    for (const pieces of [1, 3, 7, 1000]) {
      const { filter, text } = filtered(bytes, pieces)
      expect(Object.fromEntries(filter.fields)).toEqual({ model: 'auto', language: 'en' })
      expect(filter.ended).toBe(true)
      expect(text.match(/name="model"/g)).toHaveLength(1)
      expect(text).toContain('\r\n\r\nazure\r\n--b')
      expect(text).not.toContain('auto')
      expect(text.endsWith('--b--\r\n')).toBe(true)
    }
  })

  it.each(['form-data; filename="a; name=x"; name="model"', 'form-data; filename="a\\"; name=\\"x"; name="model"'])(
    'finds a model behind a name that stands in quotes: %s',
    (disposition) => {
      const { filter, text } = filtered(body(`--b\r\nContent-Disposition: ${disposition}\r\n\r\nother\r\n`), 1000)
      expect(text).not.toContain('other')
      expect(filter.ended).toBe(true)
    },
  )

  it.each([
    'form-data; name="x"; name="model"',
    'form-data; name="x"; name*=UTF-8\'\'model',
    'form-data; name="x" name="model"',
    'form-data; name="x',
    'form-data; name="x"\r\nContent-Disposition: form-data; name="model"',
  ])('refuses a part that two readers could take for two fields: %s', (disposition) => {
    const bytes = body(`--b\r\nContent-Disposition: ${disposition}\r\n\r\nother\r\n`)
    expect(() => filtered(bytes, 1000)).toThrow(/malformed/)
  })

  it('leaves a file as it is, however its bytes look and are cut', () => {
    assert(
      property(uint8Array({ maxLength: 300 }), integer({ min: 1, max: 50 }), (random, pieces) => {
        const file = Buffer.concat([Buffer.from('\r\n--'), random, Buffer.from('\r\n--x\r\r\n--'), random]).toString(
          'latin1',
        )
        if (file.includes('\r\n--b')) return
        const { text } = filtered(body(part('file', file, '; filename="f"'), part('model', 'm')), pieces)
        expect(text).toContain(`\r\n\r\n${file}\r\n--b--`)
      }),
    )
  })

  it('takes a preamble, an epilogue and padded delimiters', () => {
    const text = `hello\r\n${body(part('model', 'm'), part('a', '1')).toString()}goodbye`.replaceAll(
      '--b\r\n',
      '--b  \r\n',
    )
    const { filter } = filtered(Buffer.from(text), 5)
    expect(Object.fromEntries(filter.fields)).toEqual({ model: 'm', a: '1' })
    expect(filter.ended).toBe(true)
  })

  it('knows when a body is not over', () => {
    expect(filtered(Buffer.from(part('file', 'x', '; filename="f"')), 9).filter.ended).toBe(false)
  })
})

describe('boundaryOf', () => {
  it.each([
    ['multipart/form-data; boundary=abc', 'abc'],
    ['multipart/form-data; charset=utf-8; boundary="a b"', 'a b'],
    ['Multipart/Form-Data;boundary=--x', '--x'],
  ])('%s', (type, boundary) => {
    expect(boundaryOf(type)).toBe(boundary)
  })

  it.each([
    [undefined],
    ['multipart/form-data'],
    ['multipart/mixed; boundary=a'],
    ['multipart/form-data; boundary='],
    ['text/plain'],
  ])('%s is refused', (type) => {
    expect(() => boundaryOf(type)).toThrow(expect.objectContaining({ code: 'unsupported_media_type' }) as Error)
  })
})
