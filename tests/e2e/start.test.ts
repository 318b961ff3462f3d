import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseStackEnv } from '../../stack/src/stack-env.ts'
import { chatLine, eventually } from './test-stack.ts'

// `npm start` as a person meets it, in a copy of the tree of its own, so that a stack that runs in this clone is left
// alone. node_modules is shared by a link.

const root = fileURLToPath(new URL('../../', import.meta.url))
let clone: string
const running = new Set<ChildProcess>()

beforeAll(() => {
  clone = mkdtempSync(join(tmpdir(), 'sluice-clone-'))
  for (const name of readdirSync(root)) {
    if (['node_modules', '.local', '.git'].includes(name)) continue
    cpSync(join(root, name), join(clone, name), { recursive: true, filter: (path) => !path.endsWith('node_modules') })
  }
  symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'))
})
afterAll(() => {
  for (const child of running) child.kill('SIGKILL')
  rmSync(clone, { recursive: true, force: true })
})

function start(...args: string[]) {
  const child = spawn('npm', ['start', '--', ...args], {
    cwd: clone,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  running.add(child)
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const exit = new Promise<number | null>((resolve) =>
    child.once('exit', (code) => {
      running.delete(child)
      resolve(code)
    }),
  )
  return {
    output: () => output,
    exit,
    ready: () =>
      eventually(() => (/^ready$/m.test(output) || child.exitCode !== null ? true : undefined), 'ready').then(() => {
        if (!/^ready$/m.test(output)) throw new Error(output)
      }),
    // What a terminal does on Ctrl-C: SIGINT to the whole foreground process group.
    interrupt: () => process.kill(-(child.pid ?? 0), 'SIGINT'),
  }
}

/** Processes that run from the copy's folder or have it in their command line. */
function processesOfClone(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        const here = command.includes(clone) || readlinkSync(`/proc/${pid}/cwd`).startsWith(clone)
        return here ? [`${pid} ${command}`] : []
      } catch {
        return []
      }
    })
}

const stackEnv = () => parseStackEnv(readFileSync(join(clone, '.local/stack.env'), 'utf8'))
const call = (path: string, init: RequestInit = {}) => {
  const { INGEST_URL, SLUICE_API_KEY } = stackEnv()
  return fetch(`${INGEST_URL}${path}`, {
    ...init,
    headers: { authorization: `Bearer ${SLUICE_API_KEY}`, 'content-type': 'application/json' },
  })
}

test('npm start: ready, a second start says so, state survives a restart, Ctrl-C leaves nothing behind', async () => {
  const first = start('--port', '0')
  await first.ready()
  const env = stackEnv()
  for (const name of [
    'INGEST_URL',
    'SLUICE_API_KEY',
    'SLUICE_TENANT',
    'SLUICE_WEBHOOK_SECRET',
    'SERVICE_BUS_CONNECTION_STRING',
    'EVENT_HUBS_CONNECTION_STRING',
    'AZURE_STORAGE_CONNECTION_STRING',
    'COSMOS_ENDPOINT',
    'COSMOS_KEY',
    'REDIS_URL',
    'SIGNALR_CONNECTION_STRING',
    'OPENAI_TWIN_URL',
  ]) {
    expect(env[name], name).toBeTruthy()
  }
  expect(first.output().trimEnd().endsWith('ready')).toBe(true)
  expect(first.output()).toContain(env.SLUICE_API_KEY)
  const curl = /curl -s [\s\S]*?'\{[^']*\}'/.exec(first.output())?.[0] ?? ''
  const accepted = spawnSync('sh', ['-c', curl], { encoding: 'utf8' })
  expect(JSON.parse(accepted.stdout)).toMatchObject({ object: 'sluice.request', custom_id: 'hello' })

  const second = start('--port', '0')
  expect(await second.exit).toBe(1)
  expect(second.output()).toMatch(/already runs in this clone/)

  const demo = spawnSync('npm', ['run', 'demo'], { cwd: clone, encoding: 'utf8', timeout: 120_000 })
  expect(demo.stdout).toContain('deliveries   webhook 24, signalr 24, event-hubs 24 of 24')
  expect(demo.status).toBe(0)

  const answer = await call('/v1/requests', { method: 'POST', body: JSON.stringify(chatLine('kept', 'Hi.')) })
  const { id } = (await answer.json()) as { id: string }
  const stored = () =>
    eventually(async () => {
      const view = (await (await call(`/v1/requests/${id}`)).json()) as { status: string }
      return view.status === 'succeeded' ? view : undefined
    }, 'the result')
  const before = await stored()
  first.interrupt()
  await first.exit
  await eventually(() => (processesOfClone().length === 0 ? true : undefined), 'no process left', 15_000)

  const third = start('--port', '0')
  await third.ready()
  expect(stackEnv().SLUICE_API_KEY).toBe(env.SLUICE_API_KEY)
  expect(await stored()).toEqual(before)
  third.interrupt()
  await third.exit
  await eventually(() => (processesOfClone().length === 0 ? true : undefined), 'no process left', 15_000)
  expect(existsSync(join(clone, '.local/stack.pid'))).toBe(false)
})

test('a supervisor that is killed takes everything with it', async () => {
  const stack = start('--port', '0', '--ephemeral')
  await stack.ready()
  process.kill(Number(readFileSync(join(clone, '.local/stack.pid'), 'utf8')), 'SIGKILL')
  await stack.exit
  await eventually(() => (processesOfClone().length === 0 ? true : undefined), 'no process left', 60_000)
})
