import { Readable } from 'node:stream'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bodyLines } from './body-lines.ts'

const limits = {
  maxLineBytes: 100,
  maxBytes: 1_000,
  room: (_lineBytes: number): Promise<void> | undefined => undefined,
}
const lines = async (chunks: (string | Buffer)[], over: Partial<typeof limits> = {}) => {
  const seen: string[] = []
  const body = Readable.from(chunks.map((chunk) => Buffer.from(chunk)))
  for await (const line of bodyLines(body, { ...limits, ...over })) seen.push(line.toString('utf8'))
  return seen
}

describe('the lines of a body', () => {
  test('do not depend on where the chunks end, not even within a character', async () => {
    const text = 'first\n\n{"größe":"💥"}\r\n   \nlast'
    const whole = ['first', '{"größe":"💥"}\r', 'last']
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 8 }), async (cuts) => {
        const bytes = Buffer.from(text)
        const at = [...new Set([0, ...cuts.filter((cut) => cut < bytes.length), bytes.length])].toSorted(
          (a, b) => a - b,
        )
        const chunks = at.slice(1).map((end, index) => bytes.subarray(at[index], end))
        expect(await lines(chunks)).toEqual(whole)
      }),
    )
  })

  test('are none in an empty or blank body', async () => {
    expect(await lines([])).toEqual([])
    expect(await lines(['\n \r\n\t'])).toEqual([])
  })

  test('are bounded one by one and together', async () => {
    const tooLarge = expect.objectContaining({ code: 'message_too_large', param: 'body' }) as Error
    await expect(lines(['x'.repeat(60), 'x'.repeat(60)])).rejects.toThrow(tooLarge)
    await expect(lines(Array.from({ length: 30 }, () => `${'x'.repeat(50)}\n`))).rejects.toThrow(tooLarge)
    expect(await lines(['x'.repeat(100)])).toHaveLength(1)
  })

  test('ask for room as they come, and wait for it', async () => {
    const asked: number[] = []
    let making = false
    const room = (bytes: number) => {
      expect(making).toBe(false)
      asked.push(bytes)
      if (bytes < 4) return undefined
      making = true
      return Promise.resolve().then(() => void (making = false))
    }
    expect(await lines(['ab', 'cdef', 'g\nh\n'], { room })).toEqual(['abcdefg', 'h'])
    expect(asked).toEqual([2, 6, 7, 1, 0])
    const full = () => Promise.reject(new Error('no room'))
    await expect(lines(['ab\n'], { room: full })).rejects.toThrow('no room')
  })
})
