import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { ConfigError, loadPlatformConfig } from './index.ts'

const folder = mkdtempSync(join(tmpdir(), 'platform-config-'))
afterAll(() => rmSync(folder, { recursive: true }))

let files = 0
function load(text: string, env: Record<string, string> = {}) {
  const path = join(folder, `${files++}.yaml`)
  writeFileSync(path, text)
  try {
    return { config: loadPlatformConfig(path, env), problems: [] }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { config: undefined, problems: error.problems.map((problem) => problem.replace(path, 'FILE')) }
  }
}

const yaml = (deployment: string) => `
version: 1
routing: { thresholds: { medium: 0.3, large: 0.7 } }
lanes: { requests-standard: { tenants: "*", share: 0.5 } }
batches: { tenants: "*" }
deployments:
  - name: small-1
    tier: small
    model: gpt-4o-mini
    region: swedencentral
    quota: { tokens_per_minute: 1000, requests_per_minute: 10 }
    price: { input: 0.1, output: 0.4 }
${deployment}`

const endpoint = (text: string) => yaml(`    endpoint: ${text}\n    api_key: x`)

test('variables and their defaults are substituted', () => {
  const text = yaml('    endpoint: "${BASE:-http://localhost:1}/openai/v1"\n    api_key: ${KEY}')
  expect(load(text, { KEY: 'k' }).config?.deployments[0]).toMatchObject({
    endpoint: 'http://localhost:1/openai/v1',
    api_key: 'k',
  })
  expect(load(text, { KEY: 'k', BASE: 'https://a' }).config?.deployments[0]?.endpoint).toBe('https://a/openai/v1')
})

test("nothing is found under the names of JavaScript's own", () => {
  const config = load(endpoint('https://a')).config
  for (const name of ['constructor', 'toString', 'hasOwnProperty']) {
    expect([config?.tenants, config?.lanes, config?.prices, config?.routing.aliases].map((one) => one?.[name])).toEqual(
      Array.from({ length: 4 }),
    )
  }
})

test("a variable's value cannot change the file's structure", () => {
  const hostile = 'x", api_key: "stolen" }\n- {'
  expect(load(endpoint('${BASE}'), { BASE: hostile }).config?.deployments).toMatchObject([
    { endpoint: hostile, api_key: 'x' },
  ])
})

test('variables without value or default are all named, with their place', () => {
  expect(load(yaml('    endpoint: ${BASE}\n    api_key: ${KEY}')).problems).toEqual([
    'FILE: deployments[0].endpoint: BASE is not set',
    'FILE: deployments[0].api_key: KEY is not set',
  ])
})

test.each(['${BASE', '${}', '${B-A}', '${1A}'])('the malformed reference %s is refused', (reference) => {
  expect(load(endpoint(`"${reference}"`), { BASE: 'x' }).problems).toEqual([
    'FILE: deployments[0].endpoint: a reference is written ${VAR} or ${VAR:-default}',
  ])
})

test('what the schema refuses is named with file and place', () => {
  const { problems } = load(endpoint('http://x').replace('share: 0.5', 'share: 0').replace('version: 1', 'version: 2'))
  expect(problems).toEqual([
    expect.stringMatching(/^FILE: version: /),
    expect.stringMatching(/^FILE: lanes\.requests-standard\.share: /),
  ])
})

test.each(['name: small-1', 'model: gpt-4o-mini', 'region: swedencentral'])(
  'what answers say in their headers can be said there: %s',
  (field) => {
    const [name] = field.split(':')
    for (const value of ['日本東部', '"a\\nb"', '" a"', '""']) {
      expect(load(endpoint('http://x').replace(field, `${name}: ${value}`)).problems).toEqual([
        `FILE: deployments[0].${name}: printable ASCII characters only`,
      ])
    }
    expect(load(endpoint('http://x').replace(field, `${name}: Sweden Central`)).problems).toEqual([])
  },
)

test.each([
  ['', /^FILE: /],
  ['a: [1', /^FILE: not valid YAML: /],
  ['a: 1\na: 2', /^FILE: not valid YAML: /],
  ['just text', /^FILE: /],
])('%j is refused', (text, problem) => {
  expect(load(text).problems[0]).toMatch(problem)
})

test('a missing file is one sentence', () => {
  expect(() => loadPlatformConfig(join(folder, 'absent.yaml'), {})).toThrow(/absent\.yaml: cannot be read \(ENOENT\)/)
})
