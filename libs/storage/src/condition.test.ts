import { describe, expect, it } from 'vitest'
import { condition } from './condition.ts'

describe('condition', () => {
  it('writes values as literals', () => {
    const sql = condition`c.fence = ${3} AND c.status IN (${['accepted', 'waiting']}) AND c.a = ${null} AND c.b = ${true}`
    expect(sql.sql).toBe(`c.fence = 3 AND c.status IN ("accepted", "waiting") AND c.a = null AND c.b = true`)
  })

  it('lets no text end its literal', () => {
    expect(condition`c.a = ${'" OR true --\\'}`.sql).toBe('c.a = "\\" OR true --\\\\"')
    expect(condition`c.a = ${'\n\u0000'}`.sql).toBe('c.a = "\\n\\u0000"')
  })

  it('keeps a backslash of the template itself', () => {
    expect(condition`c.a = '\\' AND c.b = ${1}`.sql).toBe(String.raw`c.a = '\' AND c.b = 1`)
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('refuses %d, which is no literal', (value) => {
    expect(() => condition`c.a = ${value}`).toThrow(RangeError)
  })
})
