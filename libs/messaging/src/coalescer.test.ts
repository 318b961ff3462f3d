import { AppError } from '@sluice/errors'
import { ManualClock } from '@sluice/resilience'
import { expect, test } from 'vitest'
import { Coalescer } from './coalescer.ts'

class Refused extends Error {}

/** A transport that remembers its batches; each is answered by `answer`, at once unless told otherwise. */
function openTransport(
  options: { fits?: number; answer?: (items: string[]) => Promise<void>; maxPending?: number } = {},
) {
  const batches: { key: string; items: string[] }[] = []
  const clock = new ManualClock()
  const coalescer = new Coalescer<string>(
    {
      createBatch: async (key) => {
        const items: string[] = []
        return {
          add: (item) => {
            if (item === 'broken') throw new TypeError('cannot be encoded')
            if (item === 'huge' || items.length >= (options.fits ?? 100)) return false
            items.push(item)
            return true
          },
          send: async () => {
            batches.push({ key, items })
            await options.answer?.(items)
          },
        }
      },
      isRefusal: (error) => error instanceof Refused,
      translate: (error) => (error instanceof AppError ? error : new AppError('queue_unavailable', String(error))),
    },
    { name: 'send to q', deadlineMs: 1000, maxPending: options.maxPending ?? 100, clock },
  )
  return { coalescer, batches, clock }
}

const codes = async (sends: Promise<void>[]) =>
  (await Promise.allSettled(sends)).map((result) =>
    result.status === 'fulfilled' ? 'sent' : result.reason instanceof AppError ? result.reason.code : result.reason,
  )

test('what is sent in one turn of the event loop goes in one batch, per key', async () => {
  const { coalescer, batches } = openTransport()
  await Promise.all(['a', 'b', 'c'].map((item) => coalescer.send('', item)).concat(coalescer.send('s1', 'd')))
  expect(batches).toEqual([
    { key: '', items: ['a', 'b', 'c'] },
    { key: 's1', items: ['d'] },
  ])
})

test('what comes while a batch is on its way goes together in the next', async () => {
  const first = Promise.withResolvers<void>()
  const { coalescer, batches } = openTransport({
    answer: ([item]) => (item === 'a' ? first.promise : Promise.resolve()),
  })
  const sends = [coalescer.send('', 'a')]
  await new Promise((resolve) => setImmediate(resolve))
  sends.push(coalescer.send('', 'b'), coalescer.send('', 'c'))
  first.resolve()
  await Promise.all(sends)
  expect(batches.map(({ items }) => items)).toEqual([['a'], ['b', 'c']])
})

test('a full batch is followed by another, in order', async () => {
  const { coalescer, batches } = openTransport({ fits: 2 })
  await Promise.all(['a', 'b', 'c', 'd', 'e'].map((item) => coalescer.send('', item)))
  expect(batches.map(({ items }) => items)).toEqual([['a', 'b'], ['c', 'd'], ['e']])
})

test('an item that no batch can hold, or that cannot be encoded, fails alone', async () => {
  const { coalescer, batches } = openTransport()
  const sends = ['a', 'huge', 'b', 'broken', 'c'].map((item) => coalescer.send('', item))
  expect(await codes(sends)).toEqual(['sent', 'message_too_large', 'sent', 'internal', 'sent'])
  expect(batches.flatMap(({ items }) => items)).toEqual(['a', 'b', 'c'])
})

test('after a refusal each item goes alone, and only the bad one fails', async () => {
  const answer = (items: string[]) => (items.includes('bad') ? Promise.reject(new Refused()) : Promise.resolve())
  const { coalescer, batches } = openTransport({ answer })
  const sends = ['a', 'bad', 'b'].map((item) => coalescer.send('', item))
  expect(await codes(sends)).toEqual(['sent', 'queue_unavailable', 'sent'])
  expect(batches.map(({ items }) => items)).toEqual([['a', 'bad', 'b'], ['a'], ['bad'], ['b']])
})

test('after any other failure the outcome is unknown for all, and none is sent again', async () => {
  const { coalescer, batches } = openTransport({ answer: () => Promise.reject(new Error('connection lost')) })
  expect(await codes(['a', 'b'].map((item) => coalescer.send('', item)))).toEqual([
    'queue_unavailable',
    'queue_unavailable',
  ])
  expect(batches).toHaveLength(1)
})

test('a sender learns of its deadline, and the items behind go on', async () => {
  let stuck = true
  const answer = () => (stuck ? new Promise<void>(() => {}) : Promise.resolve())
  const { coalescer, batches, clock } = openTransport({ answer })
  const first = codes([coalescer.send('', 'a')])
  await clock.advance(500)
  const second = coalescer.send('', 'b')
  stuck = false
  await clock.advance(500)
  expect(await first).toEqual(['queue_unavailable'])
  await second
  expect(batches.map(({ items }) => items)).toEqual([['a'], ['b']])
  expect(clock.pending).toBe(0)
})

test('an item whose sender gave up before it went out is not sent', async () => {
  const first = Promise.withResolvers<void>()
  const { coalescer, batches } = openTransport({
    answer: ([item]) => (item === 'a' ? first.promise : Promise.resolve()),
  })
  const controller = new AbortController()
  const sends = [coalescer.send('', 'a')]
  await new Promise((resolve) => setImmediate(resolve))
  sends.push(coalescer.send('', 'b', controller.signal), coalescer.send('', 'c'))
  controller.abort('changed my mind')
  first.resolve()
  expect(await codes(sends)).toEqual(['sent', 'changed my mind', 'sent'])
  expect(batches.flatMap(({ items }) => items)).toEqual(['a', 'c'])
})

test('senders beyond the bound wait for room, within their deadline', async () => {
  const { coalescer, batches, clock } = openTransport({ maxPending: 2, answer: () => new Promise<void>(() => {}) })
  const sends = codes(['a', 'b', 'c'].map((item) => coalescer.send('', item)))
  await clock.advance(1000)
  expect(await sends).toEqual(['queue_unavailable', 'queue_unavailable', 'queue_unavailable'])
  expect(batches.map(({ items }) => items)).toEqual([['a', 'b']])
})

test('closing waits for what is under way and refuses what comes later', async () => {
  const first = Promise.withResolvers<void>()
  const { coalescer } = openTransport({ answer: () => first.promise })
  const sent = coalescer.send('', 'a')
  let closed = false
  const closing = coalescer.close().then(() => (closed = true))
  await new Promise((resolve) => setImmediate(resolve))
  expect(await codes([coalescer.send('', 'b')])).toEqual(['queue_unavailable'])
  expect(closed).toBe(false)
  first.resolve()
  await Promise.all([sent, closing])
})
