import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'

interface Line {
  msg: string
  level: string
  state?: string
  healthPort?: number
  colour?: string
}

const program = new URL('../fixtures/tiny-service.ts', import.meta.url).pathname
const running = new Set<ChildProcess>()
afterEach(() => {
  for (const child of running) child.kill('SIGKILL')
})

function run(env: Record<string, string>) {
  const child = spawn(process.execPath, [program], { env, stdio: ['pipe', 'pipe', 'inherit'] })
  running.add(child)
  const lines: Line[] = []
  const reader = createInterface({ input: child.stdout })
  reader.on('line', (line) => lines.push(JSON.parse(line) as Line))
  const exited = Promise.all([once(child, 'exit'), once(reader, 'close')]).then(([[code]]) => {
    running.delete(child)
    return code as number | null
  })
  const seen = async (matches: (line: Line) => boolean): Promise<Line> => {
    for (const deadline = Date.now() + 10_000; Date.now() < deadline; await sleep(5)) {
      const line = lines.find(matches)
      if (line) return line
    }
    throw new Error(`not logged; there is only ${JSON.stringify(lines)}`)
  }
  return { child, lines, exited, seen, states: () => lines.flatMap(({ state }) => state ?? []) }
}

const isReady = (line: Line) => line.msg === 'ready'

test.each(['SIGTERM', 'SIGINT'] as const)('%s drains and exits 0', async (signal) => {
  const service = run({ COLOUR: 'red' })
  const { healthPort, colour } = await service.seen(isReady)
  expect(colour).toBe('red')
  expect((await fetch(`http://127.0.0.1:${healthPort}/health/ready`)).status).toBe(200)
  service.child.kill(signal)
  expect(await service.exited).toBe(0)
  expect(service.states()).toEqual(['running', 'draining', 'stopped'])
  expect(service.lines.some((line) => line.msg === 'given back')).toBe(true)
})

test('while it drains it is live and not ready, and a repeated signal ends it at once', async () => {
  const service = run({ COLOUR: 'red', STOP: 'hangs' })
  const { healthPort } = await service.seen(isReady)
  service.child.kill('SIGTERM')
  await service.seen((line) => line.state === 'draining')
  expect((await fetch(`http://127.0.0.1:${healthPort}/health/live`)).status).toBe(200)
  expect((await fetch(`http://127.0.0.1:${healthPort}/health/ready`)).status).toBe(503)
  const insist = setInterval(() => service.child.kill('SIGTERM'), 50)
  expect(await service.exited).toBe(1)
  clearInterval(insist)
})

test('the signal that a supervisor sends after Ctrl+C does not cut the drain short', async () => {
  const service = run({ COLOUR: 'red' })
  await service.seen(isReady)
  service.child.kill('SIGINT')
  service.child.kill('SIGTERM')
  expect(await service.exited).toBe(0)
})

test('a drain that overruns DRAIN_MS exits 1', async () => {
  const service = run({ COLOUR: 'red', STOP: 'hangs', DRAIN_MS: '50' })
  await service.seen(isReady)
  service.child.kill('SIGTERM')
  expect(await service.exited).toBe(1)
  expect(service.states()).toEqual(['running', 'draining', 'failed'])
})

test('a stop that throws exits 1', async () => {
  const service = run({ COLOUR: 'red', STOP: 'throws' })
  await service.seen(isReady)
  service.child.kill('SIGTERM')
  expect(await service.exited).toBe(1)
})

test('bad configuration is one sentence a problem, before anything starts', async () => {
  const service = run({ COLOUR: 'blue', DRAIN_MS: 'soon' })
  expect(await service.exited).toBe(1)
  const problems = service.lines.filter((line) => line.level === 'fatal').map((line) => line.msg)
  expect(problems).toEqual([
    expect.stringMatching(/^DRAIN_MS: /),
    expect.stringMatching(/^COLOUR: /),
    'tiny failed while starting',
  ])
})

test('a failed start exits 1', async () => {
  const service = run({ COLOUR: 'red', START: 'throws' })
  expect(await service.exited).toBe(1)
  expect(service.states()).toEqual(['failed'])
})

test('a signal during the start gives up starting and exits 0', async () => {
  const service = run({ COLOUR: 'red', START: 'hangs', EXIT_WITH_PARENT: '1' })
  // The end of standard input is only noticed once the handlers are in place; a signal could come before that.
  service.child.stdin?.end()
  expect(await service.exited).toBe(0)
  expect(service.states()).toEqual(['draining', 'stopped'])
})

test('with EXIT_WITH_PARENT the end of standard input stops it like SIGTERM', async () => {
  const service = run({ COLOUR: 'red', EXIT_WITH_PARENT: '1' })
  await service.seen(isReady)
  service.child.stdin?.end()
  expect(await service.exited).toBe(0)
})

test.each(['rejects', 'throws'])('an error that nobody handles (%s) exits 1', async (after) => {
  const service = run({ COLOUR: 'red', AFTER: after })
  expect(await service.exited).toBe(1)
  expect(service.lines.at(-1)?.level).toBe('fatal')
})
