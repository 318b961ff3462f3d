import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const command = fileURLToPath(new URL('../../node_modules/.bin/sluice', import.meta.url))
let dir = ''
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-cli-test-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function sluice(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args], {
    cwd: dir,
    encoding: 'utf8',
    timeout: 20_000,
  })
  return { status, stdout, stderr }
}
const write = (name: string, lines: readonly unknown[]) => {
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n')
  writeFileSync(join(dir, name), name.endsWith('.gz') ? gzipSync(text) : text)
}
const prompt = (content: string) => [{ role: 'user', content }]

it.each(['score', 'calibrate', 'batch', 'keys'])('sluice %s --help tells its own options, and does nothing', (name) => {
  const { status, stdout, stderr } = sluice(name, '--help')
  expect([status, stderr]).toEqual([0, ''])
  expect(stdout.match(/^  \w+/gm)).toEqual([`  ${name}`])
})

describe('sluice score', () => {
  it('writes a score per line, for ids of every kind', () => {
    const lines = [
      { id: 'easy', messages: prompt('Good morning') },
      '',
      { id: 17, messages: prompt('Prove, derive and analyse that the square root of 2 is irrational.') },
      { id: 'a,"b"', messages: [], tools: [{}] },
    ]
    write('prompts.jsonl', lines)
    expect(sluice('score', '--in', 'prompts.jsonl', '--out', 'scores.csv')).toEqual({
      status: 0,
      stdout: '',
      stderr: '',
    })
    const csv = readFileSync(join(dir, 'scores.csv'), 'utf8')
    const [header, easy = '', hard = '', quoted = '', end] = csv.split('\n')
    expect([header, end]).toEqual(['id,score', ''])
    expect(easy).toMatch(/^easy,0\.0\d+$/)
    expect(hard).toMatch(/^17,0\.\d+$/)
    expect(quoted).toMatch(/^"a,""b""",0\.\d+$/)
    expect(Number(hard.split(',')[1])).toBeGreaterThan(Number(easy.split(',')[1]))
    write('prompts.jsonl.gz', lines)
    expect(sluice('score', '--in', 'prompts.jsonl.gz').stdout).toBe(csv)
  })

  it('streams a file of many lines', () => {
    write(
      'many.jsonl',
      Array.from({ length: 20_000 }, (_, id) => ({ id, messages: prompt(`What is ${id} + 1?`) })),
    )
    expect(sluice('score', '--in', 'many.jsonl').stdout.split('\n')).toHaveLength(20_002)
  })

  it.each<[string, unknown[], string]>([
    ['no JSON', [{ id: 1, messages: [] }, '{"id": 2,'], 'bad.jsonl:2: not JSON'],
    ['no id', [{ messages: [] }], 'bad.jsonl:1: id:'],
    ['no messages', [{ id: 1, messages: [] }, '', { id: 2 }], 'bad.jsonl:3: messages:'],
    ['no object', ['[]'], 'bad.jsonl:1:'],
  ])('names file and line of one with %s, and leaves what was there', (_name, lines, complaint) => {
    write('bad.jsonl', lines)
    write('kept.csv', ['before'])
    const { status, stderr } = sluice('score', '--in', 'bad.jsonl', '--out', 'kept.csv')
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(complaint) as string })
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(readFileSync(join(dir, 'kept.csv'), 'utf8')).toBe('before')
    expect(readdirSync(dir).filter((name) => name.endsWith('.part'))).toEqual([])
  })

  it.each([
    ['a file that is not there', ['score', '--in', 'none.jsonl', '--out', 'none.csv'], 'none.jsonl could not be read'],
    [
      'a folder that is not there',
      ['score', '--in', 'bad.jsonl', '--out', 'none/x.csv'],
      'none/x.csv could not be written',
    ],
    ['no --in', ['score'], '--in FILE.jsonl is missing'],
    ['an unknown option', ['score', '--fast'], "Unknown option '--fast'"],
    ['an unknown command', ['dance'], 'usage: sluice COMMAND'],
  ])('refuses %s in one clear sentence', (_name, args, complaint) => {
    write('bad.jsonl', [{ id: 1, messages: [] }])
    const { status, stderr } = sluice(...args)
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(complaint) as string })
    expect(stderr).not.toContain('    at ')
    expect(existsSync(join(dir, 'none.csv'))).toBe(false)
  })
})

describe('sluice calibrate', () => {
  it('proposes thresholds that the configuration takes as they are', () => {
    const tiers = ['small', 'medium', 'large']
    write(
      'scores.jsonl',
      Array.from({ length: 300 }, (_, n) => ({ score: n / 300, tier: tiers[Math.floor(n / 100)] })),
    )
    const { status, stdout, stderr } = sluice('calibrate', '--in', 'scores.jsonl', '--quality', '1')
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const [, medium, large] = /^routing:\n {2}thresholds: \{ medium: (\S+), large: (\S+) \}$/m.exec(stdout) ?? []
    expect(Number(medium)).toBeCloseTo(1 / 3, 1)
    expect(Number(large)).toBeCloseTo(2 / 3, 1)
    expect(stdout).toContain('served well       100.0 %')
  })

  it('scores messages itself, leaves out what no tier can do, and says when the prompts are few', () => {
    write('labelled.jsonl', [
      { messages: prompt('Good morning'), ok: { small: true, medium: true, large: true } },
      {
        messages: prompt('Prove that the square root of 2 is irrational, and justify each step.'),
        ok: { small: false, large: true },
      },
      { messages: prompt('What will the weather be in a year?'), ok: { small: false, medium: false, large: false } },
    ])
    const { stdout, stderr } = sluice('calibrate', '--in', 'labelled.jsonl', '--quality', '1')
    expect(stdout).toContain('prompts           2 (and 1 that no tier answers well, left out)')
    expect(stdout).toContain('to each tier      small 50.0 %, medium 0.0 %, large 50.0 %')
    expect(stderr).toContain('2 prompts are few')
  })

  it.each([
    ['a line without a label', [{ score: 0.5 }], [], 'needs tier or ok'],
    ['a line without a prompt', [{ tier: 'small' }], [], 'needs score or messages'],
    ['a score out of bounds', [{ score: 3, tier: 'small' }], [], ':1: score:'],
    ['an unknown tier', [{ score: 0.5, tier: 'huge' }], [], ':1: tier:'],
    ['an empty file', [], [], 'has no prompt that any tier answers well'],
    ['a quality beyond 1', [], ['--quality', '95'], '--quality is a share'],
    ['two prices', [], ['--prices', '1,5'], '--prices are three positive numbers'],
  ])('refuses %s', (_name, lines, args, complaint) => {
    write('odd.jsonl', lines)
    const { status, stderr } = sluice('calibrate', '--in', 'odd.jsonl', ...args)
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(complaint) as string })
  })
})
