import { AppError } from '@sluice/errors'
import { describe, expect, it } from 'vitest'
import { translateCosmos } from './cosmos-error.ts'

const thrownFor = (value: unknown): AppError => {
  try {
    translateCosmos(value)
  } catch (error) {
    return error as AppError
  }
  throw new Error('nothing was thrown')
}

describe('translateCosmos', () => {
  it.each([
    [404, 'missing'],
    [409, 'exists'],
    [412, 'condition_failed'],
  ])('reads %i as the answer %s', (code, kind) => {
    expect(translateCosmos({ code })).toEqual({ kind })
  })

  it('takes the wait of a throttled request, or a second', () => {
    expect(thrownFor({ code: 429, retryAfterInMs: 42 })).toMatchObject({
      code: 'storage_unavailable',
      retryAfterMs: 42,
    })
    expect(thrownFor({ code: 429 })).toMatchObject({ code: 'storage_unavailable', retryAfterMs: 1000 })
  })

  it.each([{ code: 'ECONNREFUSED' }, { code: 'TimeoutError' }, { code: 500 }, new Error('x'), 'text', null, undefined])(
    'takes %j for a service that is away',
    (value) => {
      const error = thrownFor(value)
      expect(error).toBeInstanceOf(AppError)
      expect([error.code, error.cause ?? null]).toEqual(['storage_unavailable', value ?? null])
    },
  )

  it('quotes the first line of a message only', () => {
    const thrown = thrownFor(Object.assign(new Error('Syntax error\nActivityId: 1\nBody: {"secret":1}'), { code: 400 }))
    expect(thrown.message).toBe('Cosmos DB refused (400): Syntax error')
  })

  it('passes an error of ours as it is', () => {
    const error = new AppError('shutting_down', 'x')
    expect(thrownFor(error)).toBe(error)
  })
})
