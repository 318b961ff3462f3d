import type { Deployment } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { ManualClock } from '@sluice/resilience'
import { describe, expect, it } from 'vitest'
import { AnswerTurns } from './answer-turns.ts'
import { ForwardAttempt } from './forward-attempt.ts'
import type { ForwardSink } from './forward-types.ts'

const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
const answer = JSON.stringify({ id: 'x', choices: [], usage })
const event = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'hi' }, finish_reason: null }] })}\n\n`
const lastEvents = `data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`
const counted = { input_tokens: 3, cached_tokens: 0, output_tokens: 2 }

const nothing = () => undefined
const tick = () => new Promise<void>((resolve) => process.nextTick(resolve))

class Caller implements ForwardSink {
  onClose: (() => void) | undefined
  onDrain: (() => void) | undefined
  closed = false
  status: number | undefined
  readonly pieces: string[] = []
  ended = false

  start({ status }: { status: number }): void {
    this.status = status
  }

  write(chunk: Buffer): boolean {
    this.pieces.push(chunk.toString())
    return true
  }

  end(last?: Buffer): void {
    if (last !== undefined) this.write(last)
    this.ended = true
  }

  cut(): void {
    this.ended = true
  }

  leave(): void {
    this.closed = true
    this.onClose?.()
  }
}

/** This turn's answers were given already. */
function busyTurns(perTurn = 1): AnswerTurns {
  const turns = new AnswerTurns(perTurn)
  for (let given = 0; given < perTurn; given++) turns.run(nothing, nothing)
  return turns
}

/** An attempt whose answer has to wait. */
function setUp({ turns = busyTurns(), sink = new Caller() } = {}) {
  const clock = new ManualClock()
  const controller = { aborted: false, paused: false, reason: null, abort() {}, pause() {}, resume() {} }
  const attempt = new ForwardAttempt({
    deployment: { name: 'a', model: 'm', region: 'r', timeout_ms: 1_000 } as Deployment,
    url: '/v1/chat/completions',
    sink,
    head: { score: null, limits: undefined },
    stripUsage: false,
    keptBytes: 0,
    turns,
    clock,
    timeoutMs: 1_000,
    stallMs: 1_000,
  })
  attempt.onRequestStart(controller)
  const read = (type: string, ...chunks: string[]) => {
    attempt.onResponseStart(controller, 200, { 'content-type': type })
    for (const chunk of chunks) attempt.onResponseData(controller, Buffer.from(chunk))
  }
  return { attempt, sink, clock, read }
}

describe('an answer that was read to its end', () => {
  it('is given in its turn', async () => {
    const { attempt, sink, read } = setUp()
    read('application/json', answer)
    attempt.onResponseEnd()
    expect(sink.ended).toBe(false)
    expect(await attempt.done).toMatchObject({ kind: 'answered', usage: counted })
    expect(sink).toMatchObject({ status: 200, pieces: [answer], ended: true })
  })

  it.each([
    ['an eviction or a shutdown', ({ attempt }) => attempt.fail(new AppError('shutting_down', 'bye'))],
    ['a timeout', ({ attempt, clock }) => attempt.check(clock.monotonic() + 60_000)],
    ['a caller that leaves', ({ sink }) => sink.leave()],
  ] as [string, (at: ReturnType<typeof setUp>) => void][])(
    'is an answer whatever comes meanwhile: %s',
    async (_, happens) => {
      const at = setUp()
      at.read('application/json', answer)
      at.attempt.onResponseEnd()
      happens(at)
      expect(await at.attempt.done).toMatchObject({ kind: 'answered', usage: counted })
    },
  )

  it('a stream’s last events leave with its end, in one piece', async () => {
    const { attempt, sink, read } = setUp()
    read('text/event-stream', event, lastEvents)
    attempt.onResponseEnd()
    await tick()
    expect(sink.pieces).toEqual([event])
    expect(await attempt.done).toMatchObject({ kind: 'answered', usage: counted })
    expect(sink.pieces).toEqual([event, lastEvents])
  })

  it('began when it was read, whatever it waits for', async () => {
    const turns = busyTurns()
    const { attempt, sink, clock, read } = setUp({ turns })
    await clock.advance(20)
    for (let others = 0; others < 100; others++) turns.run(nothing, nothing)
    read('application/json', answer)
    attempt.onResponseEnd()
    await clock.advance(500)
    expect(sink.ended).toBe(false)
    await attempt.done
    expect(attempt.firstByteMs).toBe(20)
  })

  it.each(['start', 'end'] as const)(
    'that cannot be given fails alone: the caller’s connection throws at its %s',
    async (step) => {
      const turns = busyTurns(2)
      const sink = new Caller()
      sink[step] = () => {
        throw new TypeError('Invalid character in header content')
      }
      const both = [setUp({ turns, sink }), setUp({ turns })]
      for (const { attempt, read } of both) {
        read('application/json', answer)
        attempt.onResponseEnd()
      }
      const [failed, given] = await Promise.all(both.map(({ attempt }) => attempt.done))
      expect(failed?.kind).toBe(step === 'start' ? 'broken' : 'answered')
      expect(sink.ended).toBe(true)
      expect(given).toMatchObject({ kind: 'answered', usage: counted })
    },
  )

  it('a stream that ended too early is broken all the same', async () => {
    const { attempt, sink, read } = setUp()
    read('text/event-stream', event)
    attempt.onResponseEnd()
    expect(await attempt.done).toMatchObject({ kind: 'broken', error: { code: 'model_unavailable' } })
    expect(sink.ended).toBe(true)
  })
})

it('a stream’s last events do not wait for an end that is late', async () => {
  const { attempt, sink, read } = setUp()
  read('text/event-stream', event, lastEvents)
  await tick()
  expect(sink.pieces).toEqual([event, lastEvents])
  sink.leave()
  expect(await attempt.done).toEqual({ kind: 'aborted' })
})
