import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { OpenAI, toFile } from 'openai'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { eventually } from './openai-twin.ts'

const main = new URL('../../emulators/openai/src/main.ts', import.meta.url).pathname
const config = {
  resources: [
    {
      name: 'unit',
      keys: ['k'],
      deployments: [
        { name: 'chat', model: 'gpt-4.1' },
        {
          name: 'bulk',
          model: 'gpt-4.1',
          kind: 'batch',
          batch: { validate_ms: 0, lines_per_minute: 600, finalize_ms: 0 },
        },
      ],
    },
  ],
}

interface Ready {
  ready: boolean
  port: number
  OPENAI_TWIN_URL: string
  control: string
}

describe('the twin as a process', () => {
  let folder: string
  const children: ChildProcessWithoutNullStreams[] = []

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'twin-process-'))
    await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  })
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await rm(folder, { recursive: true })
  })

  const launch = (args: string[], env: Record<string, string> = {}): ChildProcessWithoutNullStreams => {
    const child = spawn(process.execPath, [main, ...args], { env: { ...process.env, ...env }, stdio: 'pipe' })
    children.push(child)
    return child
  }
  const start = async (
    args: string[] = [],
    env: Record<string, string> = {},
  ): Promise<{ child: ChildProcessWithoutNullStreams; ready: Ready }> => {
    const child = launch(['--config', join(folder, 'config.json'), ...args], env)
    const [line] = (await once(createInterface(child.stdout), 'line', { signal: AbortSignal.timeout(20_000) })) as [
      string,
    ]
    return { child, ready: JSON.parse(line) as Ready }
  }
  const clientOf = (ready: Ready) =>
    new OpenAI({ apiKey: 'k', baseURL: `${ready.OPENAI_TWIN_URL}/r/unit/openai/v1`, maxRetries: 0 })
  const exitOf = async (child: ChildProcessWithoutNullStreams): Promise<number | null> =>
    child.exitCode ?? ((await once(child, 'exit', { signal: AbortSignal.timeout(20_000) })) as [number | null])[0]

  test('prints one ready line, serves, and ends with 0 on SIGTERM, open streams or not', async () => {
    const { child, ready } = await start()
    expect(ready).toMatchObject({
      ready: true,
      OPENAI_TWIN_URL: `http://127.0.0.1:${ready.port}`,
      control: `http://127.0.0.1:${ready.port}/_control`,
    })
    await fetch(`${ready.control}/deployments`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ resource: 'unit', deployment: 'chat', settings: { latency: { per_token_ms: 1_000 } } }),
    })
    const stream = await clientOf(ready).chat.completions.create({
      model: 'chat',
      messages: [{ role: 'user', content: 'Hi' }],
      stream: true,
    })
    const exit = exitOf(child)
    child.kill('SIGTERM')
    expect(await exit).toBe(0)
    stream.controller.abort()
  })

  test('ends when its parent does, if it is told to', async () => {
    const { child } = await start([], { EXIT_WITH_PARENT: '1' })
    const exit = exitOf(child)
    child.stdin.end()
    expect(await exit).toBe(0)
  })

  test.each([
    [['--port', 'x'], '--port must be a whole number'],
    [['--config', '/nowhere.json'], '/nowhere.json'],
    [['--lunch'], "Unknown option '--lunch'"],
  ])('%j is refused with a sentence and exit code 2', async (args, sentence) => {
    const child = launch(args)
    let output = ''
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
    expect(await exitOf(child)).toBe(2)
    expect(output).toContain(sentence)
    expect(output.trim().split('\n')).toHaveLength(1)
  })

  test('a port that is taken and a malformed configuration are sentences too', async () => {
    const { ready } = await start()
    const second = launch(['--port', String(ready.port)])
    expect(await exitOf(second)).toBe(2)
    await writeFile(
      join(folder, 'bad.json'),
      JSON.stringify({ resources: [{ name: 'r', deployments: [{ name: 'd', model: 'm', ability: 2 }] }] }),
    )
    const bad = launch(['--config', join(folder, 'bad.json')])
    let output = ''
    bad.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
    expect(await exitOf(bad)).toBe(2)
    expect(output).toBe('resources[0].deployments[0].ability: must lie between 0 and 1\n')
  })

  test('--help tells every flag', async () => {
    const child = launch(['--help'])
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    expect(await exitOf(child)).toBe(0)
    for (const flag of ['--port', '--host', '--config', '--data', '--seed', '--faults', '--calls', '--log-header'])
      expect(output).toContain(flag)
  })

  test('killed with SIGKILL in the middle of a batch, it finishes it after a restart: each line once', async () => {
    const data = ['--data', join(folder, 'data')]
    const first = await start(data)
    const lines = Array.from({ length: 40 }, (_, i) =>
      JSON.stringify({
        custom_id: `l${i}`,
        method: 'POST',
        url: '/v1/chat/completions',
        body: { model: 'bulk', messages: [{ role: 'user', content: `Q${i}` }] },
      }),
    )
    const client = clientOf(first.ready)
    const file = await client.files.create({
      file: await toFile(Buffer.from(lines.join('\n')), 'in.jsonl'),
      purpose: 'batch',
    })
    const batch = await client.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    })
    await eventually(
      () => client.batches.retrieve(batch.id),
      ({ request_counts: counts }) => (counts?.completed ?? 0) > 3,
    )
    first.child.kill('SIGKILL')
    await once(first.child, 'exit')
    const second = await start(data)
    const again = clientOf(second.ready)
    const done = await eventually(
      () => again.batches.retrieve(batch.id),
      ({ status }) => status === 'completed',
      15_000,
    )
    expect(done.request_counts).toEqual({ total: 40, completed: 40, failed: 0 })
    const output = await (await again.files.content(done.output_file_id ?? '')).text()
    const ids = output
      .split('\n')
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as { custom_id: string }).custom_id)
    expect(ids).toHaveLength(40)
    expect(new Set(ids).size).toBe(40)
    expect(await (await again.files.content(file.id)).text()).toBe(lines.join('\n'))
  })

  test('the same seed answers alike in two processes, another seed differently', async () => {
    const ask = async (args: string[]) => {
      const { ready } = await start(args)
      const texts = []
      for (let i = 0; i < 5; i++) {
        const completion = await clientOf(ready).chat.completions.create({
          model: 'chat',
          messages: [{ role: 'user', content: `Question ${i}` }],
        })
        texts.push(completion.choices[0]?.message.content)
      }
      return texts
    }
    const first = await ask(['--seed', '7'])
    expect(await ask(['--seed', '7'])).toEqual(first)
    expect(await ask(['--seed', '8'])).not.toEqual(first)
  })
})
