import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { fileLines } from './file-lines.ts'

async function* chunks(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function read(text: string | Buffer, size = 7, max = 1000) {
  const lines = []
  for await (const line of fileLines(chunks(Buffer.from(text), size), max)) lines.push(line)
  return lines
}

test('numbers count empty lines, which are left out', async () => {
  const lines = await read('a\n\nb\r\n\r\nc')
  expect(lines.map(({ number, bytes }) => [number, bytes.toString()])).toEqual([
    [1, 'a'],
    [3, 'b'],
    [5, 'c'],
  ])
})

test('a byte order mark belongs to no line', async () => {
  expect((await read('\uFEFF{"a":1}\n'))[0]?.bytes.toString()).toBe('{"a":1}')
})

test('a line over the limit is cut, marked, and the next one is whole', async () => {
  const lines = await read(`${'x'.repeat(5000)}\nok\n`, 64, 100)
  expect(lines.map(({ bytes, tooLong }) => [bytes.length, tooLong])).toEqual([
    [100, true],
    [2, false],
  ])
})

test('a last line without a break is marked, because it may be half of one', async () => {
  expect((await read('a\nb')).map(({ ended }) => ended)).toEqual([true, false])
})

test('an empty file has no lines', async () => {
  expect(await read('')).toEqual([])
})

test('the size of the chunks makes no difference', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.stringMatching(/^[a-zåß€\r]{1,20}$/), { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: 30 }),
      async (texts, size) => {
        const file = texts.join('\n')
        const whole = file.split('\n').map((line) => line.replace(/\r$/, ''))
        const lines = await read(file, size)
        expect(lines.map(({ bytes }) => bytes.toString())).toEqual(whole.filter((line) => line !== ''))
      },
    ),
  )
})
