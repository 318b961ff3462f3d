import { afterEach, describe, expect, it, vi } from 'vitest'
import { LineBuffer } from './line-buffer.ts'

afterEach(() => void vi.useRealTimers())

describe('LineBuffer', () => {
  const start = () => {
    vi.useFakeTimers()
    const written: string[] = []
    return { written, lines: new LineBuffer({ write: (text) => void written.push(text) }) }
  }

  it('writes the lines of a moment at once, in order', () => {
    const { written, lines } = start()
    lines.write('a\n')
    lines.write('b\n')
    expect(written).toEqual([])
    vi.advanceTimersByTime(20)
    expect(written).toEqual(['a\nb\n'])
    vi.advanceTimersByTime(1_000)
    expect(written).toHaveLength(1)
  })

  it('does not wait when there is much, or with a last word', () => {
    const { written, lines } = start()
    lines.write(`${'x'.repeat(70_000)}\n`)
    expect(written).toHaveLength(1)
    lines.write('a\n')
    lines.write('{"level":"fatal","msg":"over"}\n')
    expect(written[1]).toBe('a\n{"level":"fatal","msg":"over"}\n')
    vi.advanceTimersByTime(1_000)
    expect(written).toHaveLength(2)
  })
})
