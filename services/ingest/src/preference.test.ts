import { describe, expect, test } from 'vitest'
import { appliedPreference, preferenceOf } from './preference.ts'

describe('a Prefer header', () => {
  test.each<[string | string[] | undefined, number | undefined]>([
    [undefined, undefined],
    ['', undefined],
    ['wait=10', undefined],
    ['return=minimal', undefined],
    ['respond-asynchronously', undefined],
    ['respond-async', 0],
    ['Respond-Async , WAIT = 10', 10],
    ['respond-async;strict, wait="7"', 7],
    [['handling=lenient', 'respond-async, wait=5'], 5],
    ['respond-async, wait=3, wait=50', 3],
    ['respond-async, wait=100000', 60],
    ['respond-async, wait=0', 0],
  ])('%j asks for a wait of %j', (header, waitSeconds) => {
    expect(preferenceOf(header)).toEqual(waitSeconds === undefined ? undefined : { waitSeconds })
  })

  test.each(['respond-async, wait=soon', 'respond-async, wait=-1', 'respond-async, wait=', 'respond-async, wait=1.5'])(
    '%s is refused by name',
    (header) => {
      expect(() => preferenceOf(header)).toThrow(expect.objectContaining({ code: 'invalid_line', param: 'Prefer' }))
    },
  )

  test('is answered by what was applied', () => {
    expect(appliedPreference({ waitSeconds: 0 }, true)).toBe('respond-async')
    expect(appliedPreference({ waitSeconds: 9 }, true)).toBe('respond-async, wait=9')
    expect(appliedPreference({ waitSeconds: 9 }, false)).toBe('wait=9')
  })
})
