// Sends malformed and mutated AMQP frames to a freshly started emulator and checks after every round that it still
// serves an honest client. The seed fixes the whole run.
//   node emulators/amqp/fuzz/fuzz-frames.ts [--frames N] [--seed N]
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import rhea from 'rhea'
import { mutate, seededDraw, validFrames, type Draw } from './frames.ts'

const { values } = parseArgs({
  options: { frames: { type: 'string', default: '100000' }, seed: { type: 'string', default: '20261121' } },
})
const wanted = Number(values.frames)
const seed = Number(values.seed)
const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const config = fileURLToPath(new URL('../../../config/service-bus.json', import.meta.url))
const framesPerConnection = 25
const connectionsPerRound = 40

/** One hostile client. @returns how many frames it sent before it was cut off */
const attack = (port: number, draw: Draw): Promise<number> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    let sent = 0
    const done = (): void => {
      socket.destroy()
      resolve(sent)
    }
    socket.setTimeout(5000, done)
    socket.on('error', () => undefined)
    socket.on('close', done)
    socket.on('data', () => undefined)
    socket.on('connect', () => {
      const { preamble, frames } = validFrames()
      socket.write(preamble)
      const chunks: Buffer[] = []
      for (let index = 0; index < framesPerConnection; index++) {
        const frame = frames[Math.floor(draw() * frames.length)] ?? Buffer.alloc(8)
        chunks.push(mutate(frame, draw))
        sent++
      }
      socket.end(Buffer.concat(chunks))
      setTimeout(done, 200)
    })
  })

/** An honest client: one message in, one acceptance out. */
const checkAlive = async (port: number): Promise<void> => {
  const connection = rhea.create_container().connect({ port, host: '127.0.0.1', reconnect: false })
  connection.on('disconnected', () => undefined)
  const sender = connection.open_sender('requests-bulk')
  await once(sender, 'sendable', { signal: AbortSignal.timeout(10_000) })
  sender.send({ body: 'alive' })
  await once(sender, 'accepted', { signal: AbortSignal.timeout(10_000) })
  connection.close()
  await once(connection, 'connection_close', { signal: AbortSignal.timeout(10_000) })
}

const emulator = spawn(process.execPath, [main, '--service-bus-config', config], {
  stdio: ['pipe', 'pipe', process.env.FUZZ_LOG ? 'inherit' : 'ignore'],
  env: { ...process.env, EXIT_WITH_PARENT: '1' },
})
const [line] = (await once(createInterface(emulator.stdout), 'line')) as [string]
const { port, control } = JSON.parse(line) as { port: number; control: string }
const draw = seededDraw(seed)
const startedAt = performance.now()
let frames = 0
let connections = 0
while (frames < wanted) {
  const counts = await Promise.all(Array.from({ length: connectionsPerRound }, () => attack(port, draw)))
  frames += counts.reduce((sum, count) => sum + count, 0)
  connections += counts.length
  if (emulator.exitCode !== null || emulator.signalCode !== null) break
  await checkAlive(port)
}
const survived = emulator.exitCode === null && emulator.signalCode === null
const state = survived ? ((await (await fetch(`${control}/state`)).json()) as { connections: number }) : undefined
const seconds = Math.round((performance.now() - startedAt) / 1000)
process.stdout.write(
  `${JSON.stringify({ seed, frames, connections, survived, openConnections: state?.connections, seconds })}\n`,
)
emulator.kill('SIGTERM')
process.exitCode = survived && frames >= wanted ? 0 : 1
