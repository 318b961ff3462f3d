import { describe, expect, it } from 'vitest'
import { classOf, isOfKey, roomOf } from './class-of.ts'

const named = (...names: string[]) => names.map((name) => ({ name }))

describe('a class', () => {
  it('is the same for the same deployments, in whatever order', () => {
    expect(classOf(named('b', 'a'))).toBe(classOf(named('a', 'b')))
    expect(classOf(named('a'))).not.toBe(classOf(named('b')))
  })

  it('of a key’s requests is apart, and wants the same room', () => {
    const [all, keyed] = [classOf(named('a', 'b')), classOf(named('a', 'b'), 'key-1')]
    expect(keyed).not.toBe(all)
    expect(roomOf(keyed)).toBe(all)
    expect(roomOf(all)).toBe(all)
    expect([all, keyed].map(isOfKey)).toEqual([false, true])
  })

  it('cannot be made from names that look like one, and has an end', () => {
    expect(isOfKey(classOf(named('a#key-1')))).toBe(false)
    const many = classOf(named(...Array.from({ length: 50 }, (_, n) => `deployment-${n}`)), 'key#2')
    expect(many).toMatch(/^[0-9a-f]{32}#key_2$/)
  })
})
